import itertools

import numpy as np
import pytest

from rnnjax.data.ragged import bucket_of, concatenate, make_buckets, pad, padded_tokens, ragged, take, truncate

ROWS = [[5, 6, 7], [], [8], [9, 10, 11, 12]]


def rows_of(sequences):
    return [sequences.values[start:end].tolist() for start, end in itertools.pairwise(sequences.offsets)]


def test_rows_come_back_as_they_went_in():
    sequences = ragged(ROWS)
    assert rows_of(sequences) == ROWS
    assert sequences.lengths.tolist() == [3, 0, 1, 4]
    assert sequences.values.dtype == np.int32
    assert rows_of(ragged([])) == []
    assert rows_of(ragged([[], []])) == [[], []]


@pytest.mark.parametrize("indices", [[3, 0, 0, 1], [], [2], np.array([1, 3])])
def test_take_gives_rows_in_the_order_asked_for(indices):
    assert rows_of(take(ragged(ROWS), np.asarray(indices, int))) == [ROWS[i] for i in indices]


@pytest.mark.parametrize("num_tokens", [1, 2, 3, 10])
def test_truncate_keeps_the_first_or_the_last(num_tokens):
    sequences = ragged(ROWS)
    assert rows_of(truncate(sequences, num_tokens)) == [row[:num_tokens] for row in ROWS]
    assert rows_of(truncate(sequences, num_tokens, keep="last")) == [row[-num_tokens:] for row in ROWS]


def test_pad_after_and_before():
    sequences = ragged(ROWS)
    after = pad(sequences, [3, 1, 0], 5)
    assert after.dtype == np.int32
    assert after.tolist() == [[9, 10, 11, 12, 0], [0, 0, 0, 0, 0], [5, 6, 7, 0, 0]]
    before = pad(sequences, [3, 1, 0], 5, side="before")
    assert before.tolist() == [[0, 9, 10, 11, 12], [0, 0, 0, 0, 0], [0, 0, 5, 6, 7]]
    assert pad(sequences, np.arange(4), 4).shape == (4, 4)
    assert pad(sequences, np.zeros(0, int), 4).shape == (0, 4)


def test_a_row_that_does_not_fit_is_named():
    with pytest.raises(ValueError, match="row 3 has 4 tokens and does not fit into 3"):
        pad(ragged(ROWS), [0, 3], 3)


def test_unknown_words_for_ends_are_named():
    with pytest.raises(ValueError, match="unknown keep 'lsat'; did you mean 'last'"):
        truncate(ragged(ROWS), 3, keep="lsat")
    with pytest.raises(ValueError, match="unknown side 'front'"):
        pad(ragged(ROWS), [0], 3, side="front")
    with pytest.raises(ValueError, match="num_tokens must be at least 1, got 0"):
        truncate(ragged(ROWS), 0)


def cheapest(lengths, num_buckets, multiple_of):
    """By trying every set of boundaries."""
    bounds = sorted({-(-max(length, 1) // multiple_of) * multiple_of for length in lengths})
    sets = itertools.chain.from_iterable(itertools.combinations(bounds[:-1], k) for k in range(num_buckets))
    return min(padded_tokens(lengths, [*few, bounds[-1]]) for few in sets)


@pytest.mark.parametrize("num_buckets", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("multiple_of", [1, 3, 8])
def test_buckets_waste_least(num_buckets, multiple_of):
    rng = np.random.default_rng(num_buckets)
    for _ in range(10):
        lengths = rng.geometric(0.06, rng.integers(1, 14)) - 1
        boundaries = make_buckets(lengths, num_buckets, multiple_of)
        assert len(boundaries) <= num_buckets
        assert list(boundaries) == sorted(set(boundaries))
        assert all(bound % multiple_of == 0 for bound in boundaries)
        assert padded_tokens(lengths, boundaries) == cheapest(lengths, num_buckets, multiple_of)


def test_as_many_buckets_as_lengths_waste_nothing():
    lengths = np.array([4, 7, 7, 30, 2])
    assert make_buckets(lengths, 10, multiple_of=1) == (2, 4, 7, 30)
    assert padded_tokens(lengths, (2, 4, 7, 30)) == lengths.sum()
    assert padded_tokens(lengths, (30,)) == 5 * 30


def test_no_boundary_lies_beyond_the_length_truncated_to():
    lengths = np.array([10, 45, 300, 900])
    assert make_buckets(lengths, 3, max_length=50) == (16, 48, 50)
    assert make_buckets(lengths, 1, max_length=50) == (50,)
    assert padded_tokens(np.minimum(lengths, 50), (16, 48, 50)) == 16 + 48 + 50 + 50


def test_concatenated_rows_follow_one_another():
    first, second = ragged([[3], [], [4, 5]]), ragged([[6, 7], [8]])
    both = concatenate([first, second])
    assert [list(both.values[a:b]) for a, b in itertools.pairwise(both.offsets)] == [[3], [], [4, 5], [6, 7], [8]]
    assert both.values.dtype == np.int32
    assert both.offsets.dtype == np.int64


def test_the_bucket_of_a_length_is_the_first_that_holds_it():
    assert bucket_of([0, 1, 8, 9, 16], (8, 16)).tolist() == [0, 0, 0, 1, 1]
    assert bucket_of([], (8, 16)).tolist() == []


def test_a_text_longer_than_any_bucket_is_named():
    with pytest.raises(
        ValueError, match=r"2 of 4 texts are longer than the largest bucket, 16 tokens; .* row 2, has 40"
    ):
        bucket_of([3, 17, 40, 16], (8, 16))
    with pytest.raises(ValueError, match="longer than the largest bucket"):
        padded_tokens([17], (8, 16))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_buckets": 0}, "num_buckets must be at least 1, got 0"),
        ({"multiple_of": -8}, "multiple_of must be at least 1, got -8"),
        ({"max_length": 0}, "max_length must be at least 1, got 0"),
        ({"lengths": []}, "no lengths to make buckets of"),
    ],
)
def test_sizes_that_make_no_buckets(change, message):
    with pytest.raises(ValueError, match=message):
        make_buckets(**{"lengths": [3, 4], "num_buckets": 2, **change})
