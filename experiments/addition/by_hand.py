"""Addition of two binary numbers by a recurrent network written out by hand: no cell, no optimizer, no library but JAX.

The bits of a and b go in least significant first, one of each a step, and the bit of their sum comes out:

    hₜ = σ(xₜ W + hₜ₋₁ U),   yₜ = σ(hₜ V),   h₋₁ = 0,   xₜ = (aₜ, bₜ),   t = 0..7
    L = ½ Σₜ (yₜ − cₜ)²,     w ← w − 0.1 ∂L/∂w   after every example

a and b lie below 128, so that c = a + b has 8 bits. 16 hidden units, no biases, all weights from uniform(−1, 1).
What h has to learn to hold is one bit: the carry.

python -m experiments.addition.by_hand trains one network and prints how it does; `train(key)` is pure, so a hundred are
`jax.vmap(train)(keys)` (experiments/addition/seeds.py).
"""

import argparse
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

NUM_BITS = 8
LIMIT = 2 ** (NUM_BITS - 1)  # a and b lie below it
HIDDEN_SIZE = 16
LEARNING_RATE = 0.1
NUM_STEPS = 10_000
CHUNK = 1000  # steps compiled as one program, and between two printed lines


class Params(NamedTuple):
    W: Array  # [2, H]
    U: Array  # [H, H]
    V: Array  # [H, 1]


class Example(NamedTuple):
    a: Array
    b: Array
    predicted: Array  # yₜ [T], before rounding


def init(key: Array) -> Params:
    shapes = Params((2, HIDDEN_SIZE), (HIDDEN_SIZE, HIDDEN_SIZE), (HIDDEN_SIZE, 1))
    keys = jax.random.split(key, len(shapes))
    return Params(*(jax.random.uniform(k, shape, minval=-1.0) for k, shape in zip(keys, shapes, strict=True)))


def to_bits(number: Array) -> Array:
    """The bits of numbers [*B], least significant first: [T, *B]."""
    number = jnp.asarray(number)
    return (number >> jnp.arange(NUM_BITS).reshape(-1, *(1,) * number.ndim)) & 1


def to_number(bits: Array) -> Array:
    """The numbers [*B] of bits [T, *B]."""
    return jnp.tensordot(2 ** jnp.arange(NUM_BITS), bits, 1)


def predict(params: Params, a: Array, b: Array) -> Array:
    """yₜ [T, *B] for the numbers a, b [*B]."""
    xs = jnp.stack([to_bits(a), to_bits(b)], axis=-1).astype(jnp.float32)

    def step(h, x):
        h = jax.nn.sigmoid(x @ params.W + h @ params.U)
        return h, jax.nn.sigmoid(h @ params.V)[..., 0]

    return lax.scan(step, jnp.zeros((*jnp.shape(a), HIDDEN_SIZE)), xs)[1]


def loss(params: Params, a: Array, b: Array) -> tuple[Array, Array]:
    """L of one example, and y."""
    predicted = predict(params, a, b)
    return jnp.sum((predicted - to_bits(a + b)) ** 2) / 2, predicted


def learn(params: Params, key: Array) -> tuple[Params, Example]:
    """One step of gradient descent on one pair drawn at random; the prediction is the one before the step."""
    a, b = jax.random.randint(key, (2,), 0, LIMIT)
    gradient, predicted = jax.grad(loss, has_aux=True)(params, a, b)
    return jax.tree.map(lambda w, dw: w - LEARNING_RATE * dw, params, gradient), Example(a, b, predicted)


@partial(jax.jit, static_argnames="num_steps")
def chunk(params: Params, key: Array, first: int | Array, num_steps: int = CHUNK) -> tuple[Params, Example]:
    """Steps first, first + 1, ... of training, and the last of their examples."""

    def one(params, i):
        return learn(params, jax.random.fold_in(key, i))

    params, examples = lax.scan(one, params, first + jnp.arange(num_steps))
    return params, jax.tree.map(lambda values: values[-1], examples)


def train(key: Array, num_steps: int = NUM_STEPS, every: int = CHUNK) -> Params:
    """The parameters after every `every` steps of a training: leaves [num_steps / every, ...]."""
    key_init, key_examples = jax.random.split(key)

    def one(params, first):
        params, _ = chunk(params, key_examples, first, every)
        return params, params

    return lax.scan(one, init(key_init), jnp.arange(0, num_steps, every))[1]


def share_right(params: Params) -> Array:
    """Share of all 128 x 128 = 16,384 pairs whose sum comes out right in every bit.

    Pairs that begin with the same bits share their state so far: step t goes on from 4ᵗ states, not from 16,384.
    """
    h, carry, right = jnp.zeros((1, HIDDEN_SIZE)), jnp.zeros(1, int), jnp.ones(1, bool)
    for t in range(NUM_BITS):
        xs = jnp.array([(0, 0), (0, 1), (1, 0), (1, 1)] if t < NUM_BITS - 1 else [(0, 0)])
        h = jax.nn.sigmoid(xs @ params.W + (h @ params.U)[:, None]).reshape(-1, HIDDEN_SIZE)
        total = (carry[:, None] + xs.sum(axis=1)).reshape(-1)
        carry = total // 2
        right = jnp.repeat(right, len(xs)) & ((jax.nn.sigmoid(h @ params.V)[:, 0] > 0.5) == total % 2)
    return jnp.mean(right, dtype=jnp.float32)


def describe(step: int, example: Example) -> str:
    """Error, bits (most significant first, as one writes them) and the sum as the network has it."""
    a, b, predicted = map(np.asarray, example)
    true, rounded = np.asarray(to_bits(a + b)), (predicted > 0.5).astype(int)
    written = ["".join(map(str, bits[::-1])) for bits in (rounded, true)]
    return (
        f"step {step:6d}   error {np.abs(true - predicted).sum():.3f}   predicted {written[0]}   true {written[1]}   "
        f"{a} + {b} = {to_number(rounded)}"
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m experiments.addition.by_hand", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-steps", type=int, default=NUM_STEPS, help=f"a multiple of {CHUNK} (default {NUM_STEPS})")
    args = parser.parse_args(argv)
    if args.num_steps < CHUNK or args.num_steps % CHUNK:
        parser.error(f"--num-steps {args.num_steps} must be a multiple of {CHUNK}, and at least that")
    key_init, key_examples = jax.random.split(jax.random.key(args.seed))
    params = init(key_init)
    for first in range(0, args.num_steps, CHUNK):
        params, example = chunk(params, key_examples, first)
        print(describe(first + CHUNK, example), flush=True)
    right = round(float(share_right(params)) * LIMIT**2)
    print(f"right for {right:,} of all {LIMIT**2:,} pairs below {LIMIT}")


if __name__ == "__main__":
    main()
