"""Binary addition: the bits of two numbers go in, the bits of their sum come out."""

import math

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.tasks.base import Example, Task, check_seq_len, fewer_than_1_percent_wrong


def binary_addition(seq_len: int) -> Task:
    """Two numbers of T bits, the least significant first; answer each bit of their sum as its operands' bits pass.

        a, b ~ U{0 .. 2^T - 1}
        inputs   (a_0, b_0) .. (a_{T-1}, b_{T-1}) (0, 0)      target   bits 0 .. T of a + b

    T + 1 steps, so that the last carry has a place. What has to be held is that carry, one bit; a network that has it
    adds numbers of any length. A bit is a class, as everywhere in these tasks: two outputs o_0, o_1, and o_1 - o_0 is
    the logit of a 1.
    Loss: binary cross-entropy of σ(o_1 - o_0), the mean over all T + 1 bits. Accuracy: 1 where every bit is right.

    Chance: bits 0 .. T-1 of the sum are fair coins; the last is 1 for (1 - 2^-T)/2 of all pairs, of entropy H. So the
    loss is (T ln 2 + H)/(T + 1). No sum is more frequent than 2^T - 1, the sum of 2^T of the 4^T pairs: 2^-T are right.
    """
    name = "binary_addition"
    T = check_seq_len(name, seq_len, 1)

    def sample(key):
        bits = jax.random.bernoulli(key, shape=(T, 2)).astype(jnp.int32)
        bits = jnp.concatenate([bits, jnp.zeros((1, 2), jnp.int32)])
        return Example(bits.astype(jnp.float32), sum_bits(bits))

    q = (1 - 2.0**-T) / 2
    return Task(
        name=name,
        seq_len=T,
        num_steps=T + 1,
        input_size=2,
        output_size=2,
        outputs="all",
        sample=sample,
        loss=bit_cross_entropy,
        correct=every_bit_right,
        chance_loss=(T * math.log(2) - q * math.log(q) - (1 - q) * math.log(1 - q)) / (T + 1),
        chance_accuracy=2.0**-T,
        criterion="every bit right for more than 99 % of the held-out pairs (this project's own)",
        solved=fewer_than_1_percent_wrong,
    )


def sum_bits(bits):
    """The bits of a + b [T] from those of a and b [T, 2], all least significant first; a last carry is dropped."""

    def step(carry, pair):
        total = carry + pair.sum()
        return total // 2, total % 2

    return lax.scan(step, jnp.zeros((), bits.dtype), bits)[1]


def bit_logits(outputs):
    """o_1 - o_0 [..., T] of outputs [..., T, 2]: above 0 a bit is 1."""
    return outputs[..., 1] - outputs[..., 0]


def bit_cross_entropy(outputs, target):
    """-ln σ(±(o_1 - o_0)), + where the bit is 1, for outputs [T, 2] and target [T]; the mean over bits."""
    return -jnp.mean(jax.nn.log_sigmoid((2 * target - 1) * bit_logits(outputs)))


def every_bit_right(outputs, target):
    """1 where the whole sum is right, else 0."""
    logits = bit_logits(outputs)
    right = jnp.where(target == 1, logits > 0, logits < 0)  # NaN is wrong
    return right.all().astype(jnp.float32)
