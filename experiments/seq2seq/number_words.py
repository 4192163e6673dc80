"""Whole numbers below 10^12 in English and Russian words.

English without "and", tens and units joined by a hyphen: 342,121 is "three hundred forty-two thousand one hundred
twenty-one". Russian counts in the nominative: 1 and 2 take the gender of what is counted (тысяча is feminine, миллион
and миллиард are masculine, as is a bare number), and what is counted takes one of three forms: одна тысяча, две тысячи,
пять тысяч; 11 to 14 take the last.
"""

from collections.abc import Callable, Iterator

LIMIT = 10**12

EN_UNITS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
EN_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
EN_SCALES = ("", "thousand", "million", "billion")

RU_UNITS = [
    "ноль",
    "один",
    "два",
    "три",
    "четыре",
    "пять",
    "шесть",
    "семь",
    "восемь",
    "девять",
    "десять",
    "одиннадцать",
    "двенадцать",
    "тринадцать",
    "четырнадцать",
    "пятнадцать",
    "шестнадцать",
    "семнадцать",
    "восемнадцать",
    "девятнадцать",
]
RU_FEMININE = {1: "одна", 2: "две"}
RU_TENS = ["двадцать", "тридцать", "сорок", "пятьдесят", "шестьдесят", "семьдесят", "восемьдесят", "девяносто"]
RU_HUNDREDS = ["сто", "двести", "триста", "четыреста", "пятьсот", "шестьсот", "семьсот", "восемьсот", "девятьсот"]
RU_SCALES = (  # of one, of two to four, of more
    ("", "", ""),
    ("тысяча", "тысячи", "тысяч"),
    ("миллион", "миллиона", "миллионов"),
    ("миллиард", "миллиарда", "миллиардов"),
)
RU_THOUSAND = 1  # index of the scale that is feminine


def english(number: int) -> str:
    """The number in English words.

    Raises:
      ValueError: negative, or not below 10^12.
    """
    words = []
    for scale, group in groups(number):
        hundreds, rest = divmod(group, 100)
        words += [EN_UNITS[hundreds], "hundred"] if hundreds else []
        if rest >= 20:
            tens = EN_TENS[rest // 10 - 2]
            words.append(f"{tens}-{EN_UNITS[rest % 10]}" if rest % 10 else tens)
        elif rest:
            words.append(EN_UNITS[rest])
        words += [EN_SCALES[scale]] if scale else []
    return " ".join(words) or EN_UNITS[0]


def russian(number: int) -> str:
    """The number in Russian words, nominative, masculine.

    Raises:
      ValueError: negative, or not below 10^12.
    """
    words = []
    for scale, group in groups(number):
        hundreds, rest = divmod(group, 100)
        words += [RU_HUNDREDS[hundreds - 1]] if hundreds else []
        if rest >= 20:
            words.append(RU_TENS[rest // 10 - 2])
            rest %= 10
        if rest:
            feminine = RU_FEMININE if scale == RU_THOUSAND else {}
            words.append(feminine.get(rest, RU_UNITS[rest]))
        words += [RU_SCALES[scale][russian_form(group)]] if scale else []
    return " ".join(words) or RU_UNITS[0]


def russian_form(count: int) -> int:
    """Which form a counted noun takes: 0 as after один, 1 as after два, 2 as after пять."""
    if count // 10 % 10 == 1:
        return 2
    return {1: 0, 2: 1, 3: 1, 4: 1}.get(count % 10, 2)


def groups(number: int) -> Iterator[tuple[int, int]]:
    """(power of 1000, three digits) of each group that is not zero, the highest first.

    Raises:
      ValueError: negative, or not below 10^12.
    """
    if not 0 <= number < LIMIT:
        raise ValueError(f"{number} cannot be written in words here; numbers from 0 to {LIMIT - 1:,} can")
    for scale in reversed(range(len(EN_SCALES))):
        group = number // 1000**scale % 1000
        if group:
            yield scale, group


LANGUAGES: dict[str, Callable[[int], str]] = {"en": english, "ru": russian}
