"""MNIST read as a sequence: pixel by pixel, in a fixed random order, or row by row.

The 60,000 training images are shuffled once with a fixed seed; the last 5,000 (one in twelve) are
the validation split, the other 55,000 the training split. The 10,000 test images stay as they are.
Inputs remain uint8 in the splits; `prepare_inputs` scales a batch to [0, 1].

Chance: the best predictor that never sees an image knows how often each digit comes. Its output is
ln(share of each digit in the training split); its loss is the cross-entropy of that with the test
labels (near ln 10, at 2.301), its accuracy how often the commonest digit, a one, stands in
the test split (0.1135).
"""

import jax.numpy as jnp
import numpy as np

from rnnjax.data import hub as data
from rnnjax.tasks.base import Example, Task, cross_entropy, fewer_than_1_percent_wrong, share_right

NUM_CLASSES = 10
NUM_ROWS, NUM_PIXELS = 28, 784
SPLIT_SEED = 0  # numpy.random.default_rng(0).permutation(60000)
PERMUTATION_SEED = 1  # numpy.random.default_rng(1).permutation(784)


def mnist_pixels(data_dir=None) -> Task:
    """One pixel a step, row by row from the top left: T = 784, one input.

    Reference: Le, Jaitly & Hinton 2015, arXiv:1504.00941, section 4.2.
    """
    return _task("mnist_pixels", data_dir, lambda images: images.reshape(-1, NUM_PIXELS, 1))


def mnist_pixels_permuted(data_dir=None) -> Task:
    """The pixels in one random order, the same for every image: T = 784, one input.

    inputs[t] = pixels[permutation()[t]]. Papers do not share their permutation, nor is this theirs.

    Reference: Le, Jaitly & Hinton 2015, arXiv:1504.00941, section 4.2.
    """
    order = permutation()
    return _task(
        "mnist_pixels_permuted",
        data_dir,
        lambda images: images.reshape(-1, NUM_PIXELS, 1)[:, order],
    )


def mnist_rows(data_dir=None) -> Task:
    """One row of pixels a step, from the top: T = 28, 28 inputs. Quick, and no test of memory."""
    return _task("mnist_rows", data_dir, lambda images: images)


def permutation() -> np.ndarray:
    """The order of the permuted task, [784]: a step's pixel."""
    return np.random.default_rng(PERMUTATION_SEED).permutation(NUM_PIXELS)


def scale(images):
    """uint8 0 .. 255 -> float32 0 .. 1."""
    return jnp.asarray(images, jnp.float32) / 255


def chance(train_labels, test_labels) -> tuple[float, float]:
    """Loss and accuracy on the test labels of the training split's shares of the classes."""
    share = np.bincount(train_labels, minlength=NUM_CLASSES) / len(train_labels)
    loss = -np.mean(np.log(share[test_labels]))
    return float(loss), float(np.mean(test_labels == np.argmax(share)))


def _task(name: str, data_dir, as_sequences) -> Task:
    """as_sequences: images [N, 28, 28] -> inputs [N, T, I]."""
    loaded = data.mnist(data_dir)
    images, labels = loaded["train"]
    order = np.random.default_rng(SPLIT_SEED).permutation(len(images))
    train, validation = np.split(order, [len(order) - len(order) // 12])
    splits = {
        "train": Example(as_sequences(images[train]), labels[train]),
        "validation": Example(as_sequences(images[validation]), labels[validation]),
        "test": Example(as_sequences(loaded["test"][0]), loaded["test"][1]),
    }
    chance_loss, chance_accuracy = chance(splits["train"].target, splits["test"].target)
    _, num_steps, input_size = splits["train"].inputs.shape
    return Task(
        name=name,
        seq_len=num_steps,
        num_steps=num_steps,
        input_size=input_size,
        output_size=NUM_CLASSES,
        outputs="last",
        sample=None,
        loss=cross_entropy,
        correct=share_right,
        chance_loss=chance_loss,
        chance_accuracy=chance_accuracy,
        criterion="fewer than 1 % of the held-out images classified wrongly: a mark of this "
        "project's, no paper's, and a high one; compare the accuracies",
        solved=fewer_than_1_percent_wrong,
        splits=splits,
        prepare_inputs=scale,
    )
