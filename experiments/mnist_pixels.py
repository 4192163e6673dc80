"""MNIST pixel by pixel, in order and permuted, against the published figures.

    python -m experiments.sweep mnist_pixels          row by row (T = 28): minutes
    python -m experiments.sweep mnist_pixels --full   pixel by pixel (T = 784), half an epoch: 20 minutes on 2 cores
    python -m experiments.sweep mnist_pixels --full --set num_steps=11000 eval_every=1100 --out DIR     all 10 epochs

Both need the data set ylecun/mnist, from the Hub or below --data-dir.
"""

from experiments.sweep.spec import Sweep, Trial

STEPS_PER_EPOCH = 55_000 // 50  # training images by batch size

SWEEP = Sweep(
    name="mnist_pixels",
    question="How well do gated and ungated cells classify an image read one pixel at a time?",
    expects=(
        "Test accuracy in order / permuted by Bai, Kolter & Koltun 2018 (arXiv:1803.01271, table 1), 70k parameters, "
        "RMSprop, 10 epochs: LSTM 87.2 / 85.7, GRU 96.2 / 87.3, tanh RNN 21.5 / 25.3 %. Tallec & Ollivier 2018: chrono "
        "gains on the permuted pixels (LSTM-512: 96.3 against 95.4 %). Not like for like: here an epoch is 1,100 "
        "steps, so the 550 steps of --full are half an epoch; 130 units in every cell, so that only the LSTM has 70k "
        "parameters; Adam at one learning rate; one seed."
    ),
    base=Trial(
        task="mnist_rows",
        seq_len=None,
        hidden_size=130,
        batch_size=50,
        learning_rate=1e-3,
        clip_norm=1.0,
        num_steps=STEPS_PER_EPOCH,
        eval_every=STEPS_PER_EPOCH // 2,
    ),
    axes={"cell": ("elman", "gru", "lstm:forget_bias=1", "lstm:forget_bias=chrono"), "seed": range(1)},
    full_base={"num_steps": STEPS_PER_EPOCH // 2, "eval_every": STEPS_PER_EPOCH // 4},
    full_axes={"task": ("mnist_pixels", "mnist_pixels_permuted")},
    metric="test_accuracy",
)
