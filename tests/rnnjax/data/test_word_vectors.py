import numpy as np
import pytest

from rnnjax.data.ragged import ragged
from rnnjax.data.vocabulary import Vocabulary
from rnnjax.data.word_vectors import WordVectors, ppmi_svd, read_vectors, table_for, write_vectors

GLOVE = "the 0.418 -0.25 0.5\n, 0.01 0.2 -3e-2\nфильм 1 2 3\n. . . 7 8 9\nat name@domain.com 4 5 6\n1980 -1 -2 -3\n"


def write(path, content, encoding="utf-8"):
    path.write_bytes(content.encode(encoding))
    return path


def test_gloves_format_with_words_that_have_spaces(tmp_path):
    read = read_vectors(write(tmp_path / "glove.txt", GLOVE))
    assert read.words == ("the", ",", "фильм", ". . .", "at name@domain.com", "1980")
    assert read.vectors.dtype == np.float32
    np.testing.assert_array_equal(read.vectors[:2], np.float32([[0.418, -0.25, 0.5], [0.01, 0.2, -0.03]]))
    np.testing.assert_array_equal(read.vectors[2:], [[1, 2, 3], [7, 8, 9], [4, 5, 6], [-1, -2, -3]])


def test_word2vecs_format_has_a_header_and_may_end_lines_with_a_space(tmp_path):
    read = read_vectors(write(tmp_path / "w2v.txt", "3 2\nthe 1 2 \n</s> 3 4 \r\nof 5 6\n"))
    assert read.words == ("the", "</s>", "of")
    np.testing.assert_array_equal(read.vectors, [[1, 2], [3, 4], [5, 6]])


def test_only_wanted_words_are_kept_and_the_first_of_two(tmp_path):
    path = write(tmp_path / "glove.txt", GLOVE + "the 9 9 9\nbroken x y z\n")
    read = read_vectors(path, {"1980", "the", "absent"})
    assert read.words == ("the", "1980")
    np.testing.assert_array_equal(read.vectors, np.float32([[0.418, -0.25, 0.5], [-1, -2, -3]]))
    assert read_vectors(path, {"absent"}).vectors.shape == (0, 3)


def test_another_encoding(tmp_path):
    path = write(tmp_path / "ru.txt", "the 1 2\nфильм 3 4\n", "windows-1251")
    assert read_vectors(path, encoding="windows-1251").words == ("the", "фильм")
    with pytest.raises(
        ValueError, match=r"ru.txt, line 2 is not utf-8: byte 0xf4 at position 0.*--encoding windows-1251"
    ):
        read_vectors(path)
    with pytest.raises(ValueError, match="unknown encoding 'windows-9999'"):
        read_vectors(path, encoding="windows-9999")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "v.txt: no vectors in it"),
        ("5 3\n", "v.txt: no vectors in it"),
        ("the\n", "line 1: a word and 1 values expected, got 0 values"),
        ("the 1 2\nof 1\n", "line 2: a word and 2 values expected, got 1 values"),
        ("the 1 2\nof 1 2 3\n", "line 2: a word and 2 values expected, got 3 values"),
        ("the 1 2\n\nof 1 2\n", "line 2: a word and 2 values expected, got 0 values"),
        ("2 3\nthe 1 2\nof 1 2\n", "line 2: a word and 3 values expected, got 2 values"),
        ("the 1 2\nof 1 two\n", "line 2: 'two' is no finite number"),
        ("the 1 2\nof nan 2\n", "line 2: 'nan' is no finite number"),
        ("the 1 2\nof inf -inf\n", "line 2: 'inf' is no finite number"),
        ("3 2\nthe 1 2\nof 1 2\n", "the header says 3 vectors, there are 2"),
    ],
)
def test_files_that_are_no_vectors(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read_vectors(write(tmp_path / "v.txt", content))


def test_what_is_written_is_read_back_bit_by_bit(tmp_path):
    vectors = np.random.default_rng(0).standard_normal((3, 50)).astype(np.float32) * 10.0 ** np.arange(-25, 25)
    vectors = vectors.astype(np.float32)
    write_vectors(tmp_path / "v.txt", ["a", "ёж", "don't"], vectors)
    read = read_vectors(tmp_path / "v.txt")
    assert read.words == ("a", "ёж", "don't")
    np.testing.assert_array_equal(read.vectors, vectors)


@pytest.mark.parametrize(
    ("words", "shape", "message"),
    [
        (["a", "b c"], (2, 3), "word 'b c' cannot be written"),
        (["a", ""], (2, 3), "word '' cannot be written"),
        (["a"], (2, 3), r"1 words need vectors \[1, D\], got shape \(2, 3\)"),
        (["a", "b"], (2,), r"2 words need vectors \[2, D\], got shape \(2,\)"),
    ],
)
def test_vectors_that_cannot_be_written(tmp_path, words, shape, message):
    with pytest.raises(ValueError, match=message):
        write_vectors(tmp_path / "v.txt", words, np.zeros(shape))
    assert not (tmp_path / "v.txt").exists()


def test_a_table_has_zeros_where_there_is_no_vector():
    vectors = WordVectors(("film", "of", "the"), np.float32([[1, 2], [3, 4], [5, 6]]))
    table, covered = table_for(Vocabulary(("the", "plot", "film", "dull")), vectors)
    assert table.dtype == np.float32
    np.testing.assert_array_equal(table, [[0, 0], [0, 0], [5, 6], [0, 0], [1, 2], [0, 0]])
    assert covered == 0.5
    with pytest.raises(ValueError, match=r"none of the 1 words \(THE, ...\) is among the 3 with a vector"):
        table_for(Vocabulary(("THE",)), vectors)


# ---- PPMI and SVD


def texts_of_two_topics(seed=0, num_texts=300):
    """Words 2..11 stand together, as do 12..21, with 22..24 anywhere and ids 0 and 1 in between."""
    rng = np.random.default_rng(seed)
    pools = [np.r_[2:12, 22:25, 1], np.r_[12:22, 22:25, 1]]
    return ragged([rng.choice(pools[i % 2], rng.integers(0, 30)) for i in range(num_texts)])


def ppmi_by_loops(sequences, vocab_size, window, smoothing):
    n = np.zeros((vocab_size, vocab_size))
    for start, end in zip(sequences.offsets[:-1], sequences.offsets[1:], strict=True):
        row = sequences.values[start:end]
        for i, word in enumerate(row):
            for j in range(max(i - window, 0), min(i + window + 1, len(row))):
                if j != i and word > 1 and row[j] > 1:
                    n[word, row[j]] += 1
    joint, word = n / n.sum(), n.sum(1) / n.sum()
    context = word**smoothing / (word**smoothing).sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.maximum(0, np.nan_to_num(np.log(joint / np.outer(word, context)), neginf=0))


@pytest.mark.parametrize(("window", "smoothing"), [(1, 0.75), (3, 1.0), (5, 0.75)])
def test_the_vectors_are_the_singular_vectors_of_ppmi(window, smoothing):
    texts, size = texts_of_two_topics(), 4
    matrix = ppmi_by_loops(texts, 26, window, smoothing)
    vectors = ppmi_svd(texts, 26, size, window, smoothing)
    assert vectors.shape == (26, size)
    assert vectors.dtype == np.float32
    u, s, _ = np.linalg.svd(matrix)
    expected = u[:, :size] * np.sqrt(s[:size])
    np.testing.assert_allclose(vectors @ vectors.T, expected @ expected.T, atol=2e-3)
    np.testing.assert_allclose((vectors**2).sum(0), s[:size], rtol=1e-3)
    assert (np.abs(vectors).max(0) == vectors.max(0)).all()


def test_words_of_a_topic_are_alike_and_the_unknown_word_is_zero():
    vectors = ppmi_svd(texts_of_two_topics(), 26, 3)
    np.testing.assert_array_equal(vectors[[0, 1]], 0)
    np.testing.assert_allclose(vectors[25], 0, atol=1e-6)  # never seen
    unit = vectors[2:22] / np.linalg.norm(vectors[2:22], axis=1, keepdims=True)
    cosine = unit @ unit.T
    assert cosine[:10, :10].min() > cosine[:10, 10:].max() + 0.5


def test_the_same_texts_give_the_same_vectors():
    np.testing.assert_array_equal(ppmi_svd(texts_of_two_topics(), 26, 5), ppmi_svd(texts_of_two_topics(), 26, 5))


@pytest.mark.parametrize("change", [{"size": 26}, {"size": 0}, {"window": 0}, {"smoothing": 0.0}, {"smoothing": 1.5}])
def test_sizes_that_make_no_vectors(change):
    with pytest.raises(ValueError, match="need 1 <= size < vocab_size, window >= 1 and 0 < smoothing <= 1; got"):
        ppmi_svd(texts_of_two_topics(), 26, **change)


def test_texts_without_neighbours_make_no_vectors():
    with pytest.raises(ValueError, match="no two known words stand near each other"):
        ppmi_svd(ragged([[2], [3, 1], [], [0, 4]]), 26, 5)
