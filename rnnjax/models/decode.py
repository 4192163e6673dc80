"""Generating sequences of tokens: one compiled step, run over a block of tokens inside one scan.

A model enters as `next_logits(params, carry, token [n]) -> (carry, logits [n, V])`, the same for a cell with a carry
and for a network that reads a window anew at every step (`over_carry`, `over_window`). Prefixes and samples go through
the same program: a token that is given is forced, all others are drawn. Temperatures, top-k, top-p and keys are arrays,
so that one program serves them all.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from rnnjax.cell import Array, Cell
from rnnjax.compiling import compiler_options
from rnnjax.models.model import Model

BLOCK = 32  # tokens in one call: what is printed at once


class Options(NamedTuple):
    """How tokens are drawn, beside the temperature."""

    top_k: Any = 0  # only the k most likely tokens; 0 is all
    top_p: Any = 1.0  # only the fewest most likely tokens that together have this probability; 1 is all
    banned: Any = False  # [V], tokens that are never drawn


DEFAULT = Options()


class Decoding(NamedTuple):
    """What goes from block to block."""

    carry: Any
    token: Array  # [n], the last one, which the model has not read yet
    done: Array  # [n], the end was drawn
    position: Array  # [], tokens so far


class Decoder(NamedTuple):
    """The compiled functions of `make_decoder`, and the token that ends a sequence.

    start(params, first token [n]) -> Decoding
    block(params, state, keys [n], forced [K, n], temperature [K, n], options) -> (state, tokens [K, n])

    A forced token of -1 is one to be drawn.
    """

    start: Callable[..., Decoding]
    block: Callable[..., tuple[Decoding, Array]]
    end: int


def over_carry(model: Model, cell: Cell) -> tuple[Callable, Callable]:
    """(initial carry, next_logits) of a model of a cell with outputs="all", whose carry goes from token to token."""

    def next_logits(params: Any, carry: Any, token: Array) -> tuple[Any, Array]:
        carry, logits = model.run(params, token[None], carry)
        return carry, logits[0]

    return lambda params, n: cell.initial_carry(params.recurrent, (n,)), next_logits


def over_window(model: Model, length: int) -> tuple[Callable, Callable]:
    """(initial carry, next_logits) of a model that reads the last `length` tokens, from the initial state each time."""

    def next_logits(params: Any, window: Array, token: Array) -> tuple[Array, Array]:
        window = jnp.concatenate([window[1:], token[None]])
        return window, model.apply(params, window)

    return lambda params, n: jnp.zeros((length, n), jnp.int32), next_logits


def filtered(logits: Array, top_k: Any, top_p: Any) -> Array:
    """Logits [..., V] with minus infinity for what top-k, and then top-p among those left, leaves out.

    Ties with the last one kept are kept. The most likely token always is.
    """
    size = logits.shape[-1]
    ordered = -jnp.sort(-logits, axis=-1)
    rank = jnp.arange(size)
    ordered = jnp.where(rank < jnp.where(top_k > 0, top_k, size), ordered, -jnp.inf)
    probability = jax.nn.softmax(ordered, axis=-1)
    before = jnp.cumsum(probability, axis=-1) - probability
    kept = (rank == 0) | ((before < top_p) & (ordered > -jnp.inf))
    lowest = jnp.min(jnp.where(kept, ordered, jnp.inf), axis=-1, keepdims=True)
    return jnp.where(logits >= lowest, logits, -jnp.inf)


def draw(keys: Array, logits: Array, temperature: Array, options: Options) -> Array:
    """A token [n] for each row of logits [n, V]: from softmax(logits / temperature), at temperature 0 the likeliest.

    Each row has its own key, so it does not matter how many are drawn together.
    """
    logits = jnp.where(options.banned, -jnp.inf, logits)
    # The maximum first: logits over a temperature of 1e-38 would all be infinite, which one was largest forgotten. What
    # XLA may take for zero (a subnormal number) is zero.
    warm = temperature >= jnp.finfo(temperature.dtype).tiny
    tempered = (logits - logits.max(axis=-1, keepdims=True)) / jnp.where(warm, temperature, 1)[:, None]
    used = (options.top_k > 0) | (options.top_p < 1)
    tempered = lax.cond(used, lambda z: filtered(z, options.top_k, options.top_p), lambda z: z, tempered)
    drawn = jax.vmap(jax.random.categorical)(keys, tempered)
    return jnp.where(warm, drawn, jnp.argmax(logits, axis=-1)).astype(jnp.int32)


def make_decoder(initial_carry: Callable, next_logits: Callable, end: int) -> Decoder:
    """One program per number of sequences n and block length K.

    Args:
      initial_carry: (params, n) -> carry.
      next_logits: (params, carry, token [n]) -> (carry, logits [n, V]).
      end: the token after which a sequence is over; from there on its tokens are this one.
    """

    def start(params: Any, first: Array) -> Decoding:
        first = jnp.asarray(first, jnp.int32)
        carry = initial_carry(params, len(first))
        return Decoding(carry, first, jnp.zeros(len(first), bool), jnp.zeros((), jnp.int32))

    def block(params: Any, state: Decoding, keys: Array, forced: Array, temperature: Array, options: Options):
        def step(state: Decoding, given: tuple[Array, Array]) -> tuple[Decoding, Array]:
            forced, temperature = given
            carry, logits = next_logits(params, state.carry, state.token)
            here = jax.vmap(jax.random.fold_in, (0, None))(keys, state.position)
            token = jnp.where(forced >= 0, forced, draw(here, logits, temperature, options))
            token = jnp.where(state.done, end, token)
            done = state.done | ((token == end) & (forced < 0))
            return Decoding(carry, token, done, state.position + 1), token

        return lax.scan(step, state, (forced, temperature))

    return Decoder(jax.jit(start), jax.jit(block, compiler_options=compiler_options()), end)


def generate(
    decoder: Decoder,
    params: Any,
    prompts: Sequence[Sequence[int]],
    length: int,
    *,
    temperatures: Any = 1.0,
    options: Options = DEFAULT,
    seed: int = 0,
    tell: Callable[[list[list[int]]], None] = lambda new: None,
) -> list[list[int]]:
    """What follows each prompt: up to `length` tokens, fewer where the end is drawn (it is left out).

    Args:
      decoder: of `make_decoder`.
      params: of the model.
      prompts: n sequences of tokens, none of them empty; they may differ in length.
      length: tokens to draw.
      temperatures: S of them, [S] or [n, S], over which the tokens drawn cycle; or a number.
      options: which tokens may be drawn.
      seed: sequence i depends on the seed and i alone, not on how many there are.
      tell: called with the new tokens of each sequence after every block.
    """
    n, lengths = len(prompts), np.array([len(prompt) for prompt in prompts])
    total = -(-(lengths.max() - 1 + length) // BLOCK) * BLOCK
    forced = np.full((total, n), -1, np.int32)
    for i, prompt in enumerate(prompts):
        forced[: len(prompt) - 1, i] = prompt[1:]
    place = np.arange(total)[:, None] - (lengths - 1)  # [total, n], 0 at the first token drawn
    wanted = (place >= 0) & (place < length)
    cycle = np.atleast_1d(np.asarray(temperatures, np.float32))
    cycle = np.broadcast_to(cycle, (n, cycle.shape[-1]))
    temperature = cycle[np.arange(n), place % cycle.shape[1]]
    options = Options(np.int32(options.top_k), np.float32(options.top_p), options.banned)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), jnp.arange(n))
    state = decoder.start(params, np.array([prompt[0] for prompt in prompts], np.int32))
    texts: list[list[int]] = [[] for _ in prompts]
    for at in range(0, total, BLOCK):
        part = slice(at, at + BLOCK)
        state, tokens = decoder.block(params, state, keys, forced[part], temperature[part], options)
        written, new = np.asarray(tokens), []
        for i, text in enumerate(texts):
            drawn = written[wanted[part, i], i].tolist()
            new.append(drawn[: drawn.index(decoder.end)] if decoder.end in drawn else drawn)
            text += new[-1]
        tell(new)
        if np.asarray(state.done).all():
            break
    return texts
