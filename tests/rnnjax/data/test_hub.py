import subprocess
import sys

import datasets
import numpy as np
import pytest
from PIL import Image

from rnnjax.data import hub as data
from rnnjax.tasks import make_task


def write_split(path, images, labels):
    columns = {"image": [Image.fromarray(image) for image in images], "label": labels}
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    datasets.Dataset.from_dict(columns, features).to_parquet(path)


def write_mnist(data_dir, images, labels, num_test=20):
    """The Hub's layout of MNIST: train.parquet and test.parquet of PNG images and labels."""
    folder = data_dir / "ylecun" / "mnist"
    folder.mkdir(parents=True)
    write_split(folder / "train.parquet", images[num_test:], labels[num_test:])
    write_split(folder / "test.parquet", images[:num_test], labels[:num_test])
    return data_dir


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def digits():
    images = np.random.default_rng(2).integers(0, 256, (140, 28, 28), dtype=np.uint8)
    return images, [i % 10 for i in range(140)]


def test_mnist_comes_back_as_it_was_written(tmp_path, digits):
    images, labels = digits
    loaded = data.mnist(write_mnist(tmp_path / "data", images, labels))
    assert set(loaded) == {"train", "test"}
    for split, rows in {"train": slice(20, None), "test": slice(0, 20)}.items():
        np.testing.assert_array_equal(loaded[split][0], images[rows])
        np.testing.assert_array_equal(loaded[split][1], labels[rows])
        assert loaded[split][0].dtype == np.uint8
        assert loaded[split][1].dtype == np.int32


def test_an_mnist_task_from_a_folder(tmp_path, digits):
    task = make_task("mnist_pixels", data_dir=str(write_mnist(tmp_path / "data", *digits)))
    assert {split: example.inputs.shape for split, example in task.splits.items()} == {
        "train": (110, 784, 1),
        "validation": (10, 784, 1),
        "test": (20, 784, 1),
    }
    np.testing.assert_array_equal(task.splits["test"].inputs[3, :, 0], digits[0][3].ravel())


def test_a_missing_set_says_where_it_was_looked_for_and_what_to_download(tmp_path):
    with pytest.raises(FileNotFoundError, match="no data set 'ylecun/mnist'") as error:
        make_task("mnist_rows", data_dir=tmp_path)
    assert str(tmp_path / "ylecun" / "mnist") in str(error.value)
    assert "nothing there" in str(error.value)
    assert "https://huggingface.co/datasets/ylecun/mnist" in str(error.value)
    with pytest.raises(FileNotFoundError, match="the data folder itself does not exist"):
        data.load("ylecun/mnist", tmp_path / "nowhere")
    (tmp_path / "a" / "set").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="no data set 'a/set'"):
        data.load("a/set", tmp_path)


def test_an_unreachable_hub_suggests_a_folder(monkeypatch):
    def unreachable(name):
        raise ConnectionError(f"Couldn't reach '{name}' on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(ConnectionError, match="cannot load 'ylecun/mnist' from the Hugging Face Hub") as error:
        data.mnist()
    assert "--data-dir" in str(error.value)
    assert "https://huggingface.co/datasets/ylecun/mnist" in str(error.value)


def test_without_a_folder_the_name_is_the_hubs(monkeypatch):
    monkeypatch.setattr(datasets, "load_dataset", lambda name: f"the Hub's {name}")
    assert data.load("stanfordnlp/imdb") == "the Hub's stanfordnlp/imdb"


def test_labels_out_of_range_are_named(tmp_path, digits):
    images, labels = digits
    labels[25] = -1
    write_mnist(tmp_path / "data", images, labels)
    with pytest.raises(ValueError, match=r"ylecun/mnist train: 1 of 120 labels .* 0 .. 9, .* -1 at row 5"):
        data.mnist(tmp_path / "data")


def test_images_of_another_shape_are_named(tmp_path, digits):
    images, labels = digits
    write_mnist(tmp_path / "data", images[:, :20], labels)
    with pytest.raises(ValueError, match=r"image 0 is uint8 of shape \(20, 28\), not uint8 \(28, 28\)"):
        data.mnist(tmp_path / "data")


def test_a_missing_split_is_named(tmp_path, digits):
    write_mnist(tmp_path / "data", *digits)
    (tmp_path / "data/ylecun/mnist/test.parquet").unlink()
    with pytest.raises(ValueError, match=r"no split \['test'\]; it has \['train'\]"):
        data.mnist(tmp_path / "data")


def test_check_finite_says_how_many_and_where():
    data.check_finite("fine", np.ones((2, 3)))
    array = np.ones((4, 3))
    array[2, 1] = np.nan
    array[3, 0] = np.inf
    with pytest.raises(ValueError, match=r"series: 2 of 12 values are NaN or infinite, the first at \(2, 1\)"):
        data.check_finite("series", array)


def test_check_labels_accepts_the_whole_range_only():
    data.check_labels("fine", np.arange(4), 4)
    with pytest.raises(ValueError, match=r"2 of 5 labels are not in 0 .. 2, the first is 3 at row 3"):
        data.check_labels("too many", np.arange(5), 3)


def test_importing_tasks_does_not_import_datasets():
    code = "import sys, rnnjax.data, rnnjax.tasks; sys.exit('datasets' in sys.modules or 'PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
