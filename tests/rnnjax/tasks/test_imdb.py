"""IMDB as word vectors, from a folder in the Hub's layout."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from rnnjax.tasks import imdb, make_task


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(imdb, "VECTOR_SIZE", 4)
    monkeypatch.setattr(imdb, "NUM_VALIDATION", 6)
    there = tmp_path / "stanfordnlp" / "imdb"
    there.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for split, count in (("train", 30), ("test", 10)):
        words = [" ".join(f"film{j}" for j in rng.integers(0, 12, 3 + 8 * i)) for i in range(count)]
        pd.DataFrame({"text": words, "label": np.arange(count) % 2}).to_parquet(there / f"{split}.parquet")
    return tmp_path


def test_splits_lengths_and_vectors(folder):
    task = make_task("imdb_vectors", data_dir=str(folder))
    sizes = {name: len(split.inputs) for name, split in task.splits.items()}
    assert sizes == {"train": 24, "validation": 6, "test": 10}
    test = task.splits["test"]
    np.testing.assert_array_equal(test.length, np.minimum(3 + 8 * np.arange(10), 50))
    assert test.inputs.shape == (10, 50)
    xs = task.prepare_inputs(jnp.asarray(test.inputs))
    assert xs.shape == (10, 50, 4)
    assert np.all(xs[0, 3:] == 0)  # padding has the zero vector
    assert np.abs(xs[0, :3]).max() > 0
    again = make_task("imdb_vectors", 50, str(folder))
    np.testing.assert_array_equal(again.prepare_inputs(jnp.asarray(test.inputs)), xs)
    assert task.chance_accuracy == pytest.approx(0.5)


def test_another_length_is_refused(folder):
    with pytest.raises(ValueError, match="its sequences have 50"):
        make_task("imdb_vectors", 80, str(folder))
