"""Numbers in words: known cases, and what must hold of all."""

import itertools

import pytest

from experiments.seq2seq.number_words import LIMIT, english, groups, russian, russian_form

ENGLISH = {
    0: "zero",
    7: "seven",
    10: "ten",
    13: "thirteen",
    20: "twenty",
    21: "twenty-one",
    99: "ninety-nine",
    100: "one hundred",
    101: "one hundred one",
    110: "one hundred ten",
    342: "three hundred forty-two",
    1000: "one thousand",
    1001: "one thousand one",
    15_040: "fifteen thousand forty",
    100_000: "one hundred thousand",
    342_121: "three hundred forty-two thousand one hundred twenty-one",
    1_000_000: "one million",
    7_000_018: "seven million eighteen",
    999_000_999_090: "nine hundred ninety-nine billion nine hundred ninety-nine thousand ninety",
}
RUSSIAN = {
    0: "ноль",
    1: "один",
    2: "два",
    11: "одиннадцать",
    14: "четырнадцать",
    40: "сорок",
    90: "девяносто",
    100: "сто",
    122: "сто двадцать два",
    1000: "одна тысяча",
    2000: "две тысячи",
    3000: "три тысячи",
    5000: "пять тысяч",
    11_000: "одиннадцать тысяч",
    12_002: "двенадцать тысяч два",
    21_000: "двадцать одна тысяча",
    22_022: "двадцать две тысячи двадцать два",
    111_111: "сто одиннадцать тысяч сто одиннадцать",
    241_001: "двести сорок одна тысяча один",
    1_000_000: "один миллион",
    2_000_000: "два миллиона",
    5_000_000: "пять миллионов",
    12_000_000: "двенадцать миллионов",
    31_000_500: "тридцать один миллион пятьсот",
    1_001_001: "один миллион одна тысяча один",
    1_000_000_000: "один миллиард",
    4_000_000_000: "четыре миллиарда",
    16_000_000_000: "шестнадцать миллиардов",
}


@pytest.mark.parametrize(("number", "words"), ENGLISH.items())
def test_english(number, words):
    assert english(number) == words


@pytest.mark.parametrize(("number", "words"), RUSSIAN.items())
def test_russian(number, words):
    assert russian(number) == words


@pytest.mark.parametrize(
    ("count", "form"),
    [(1, 0), (2, 1), (4, 1), (5, 2), (10, 2), (11, 2), (14, 2), (21, 0), (104, 1), (112, 2), (200, 2)],
)
def test_the_form_a_counted_noun_takes(count, form):
    assert russian_form(count) == form


@pytest.mark.parametrize("write", [english, russian])
def test_no_two_numbers_have_the_same_words(write):
    numbers = [*range(2000), *(1000 * n for n in range(2, 1000)), *(10**9 * n for n in range(1, 1000))]
    assert len({write(number) for number in numbers}) == len(numbers)


def test_groups_add_up_to_the_number():
    for digits in itertools.product("059", repeat=7):
        number = int("".join(digits))
        assert sum(group * 1000**scale for scale, group in groups(number)) == number


@pytest.mark.parametrize("write", [english, russian])
@pytest.mark.parametrize("number", [-1, LIMIT])
def test_numbers_out_of_reach(write, number):
    with pytest.raises(ValueError, match=f"{number} cannot be written in words"):
        write(number)
