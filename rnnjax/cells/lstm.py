"""Long short-term memory: one switchboard for every variant of the literature, and its named settings."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.cell import Array, Cell, affine, check_size, dense, name, recur, shown, split, zeros
from rnnjax.initializers import (
    Bias,
    Initializer,
    bias as init_bias,
    check_bias,
    glorot_uniform,
    input_bias as init_input_bias,
    orthogonal,
    per_gate,
)

sigmoid = jax.nn.sigmoid
Activation = Callable[[Array], Array] | None


class LSTMParams(NamedTuple):
    W: Array  # [I, G*H]
    U: Array  # [O, G*H]
    b: Array  # [G*H]
    peephole: dict[str, Array] | None = None  # one [H] for each gate
    R: Array | None = None  # [K*H, K*H] from the K gates of the step before to those of this one
    W_proj: Array | None = None  # [H, O]


class LSTMCarry(NamedTuple):
    h: Array  # [*B, O]
    c: Array  # [*B, H]
    gates: Array | None = None  # [*B, K*H], with full gate recurrence


@shown
def lstm(
    hidden_size: int,
    *,
    input_gate: bool = True,
    forget_gate: bool = True,
    output_gate: bool = True,
    peepholes: bool = False,
    coupled: bool = False,
    gate_recurrence: bool = False,
    input_activation: Activation = jnp.tanh,
    output_activation: Activation = jnp.tanh,
    projection_size: int | None = None,
    forget_bias: Bias | None = None,
    input_bias: Bias | None = None,
    output_bias: Bias | None = None,
    cell_bias: Bias = 0.0,
    cut_gradient: bool = False,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
) -> Cell:
    """Long short-term memory, the switchboard.

        iₜ = σ(W_i xₜ + U_i hₜ₋₁ + w_i ⊙ cₜ₋₁ + b_i)             i = 1 writes
        fₜ = σ(W_f xₜ + U_f hₜ₋₁ + w_f ⊙ cₜ₋₁ + b_f)             f = 1 keeps
        gₜ = tanh(W_g xₜ + U_g hₜ₋₁ + b_g)
        cₜ = fₜ ⊙ cₜ₋₁ + iₜ ⊙ gₜ
        oₜ = σ(W_o xₜ + U_o hₜ₋₁ + w_o ⊙ cₜ + b_o)               o = 1 shows
        hₜ = oₜ ⊙ tanh(cₜ)

    Switches, each independent of the others:
      input_gate, forget_gate, output_gate: a removed gate is 1 and absent from the packing.
      peepholes: the terms in w; without them w = 0 and absent.
      coupled: i = 1 − f, and no i of its own. (Greff et al. keep i and set f = 1 − i: their z_i is our −z_f. Keeping f
        lets `forget_bias` mean what it says.)
      gate_recurrence: every gate also sees R times all gates of the step before (zero before the first).
      input_activation, output_activation: in place of the tanh of g and of c; None leaves it out.
      projection_size: hₜ = W_proj (oₜ ⊙ tanh(cₜ)), of that size, is what recurs and what is returned.
      cut_gradient: no gradient passes from a gate or a block input to hₜ₋₁, so that it goes back in time through c
        alone (the truncation of Hochreiter & Schmidhuber 1997, appendix A.1).
    Biases are numbers, `Uniform(low, high)`, `Normal(std)` or `Chrono(t_max)`; where none is given (None), b_f = 1 and
    the others are 0. A `Chrono` forget bias sets b_i = −b_f as well, unless `input_bias` is given; a `Chrono` input
    bias is the negative of what it draws, so that the gate starts shut, and −b_f beside the same `Chrono` forget bias.

    Carry: LSTMCarry(h [*B, O], c [*B, H], and the gates [*B, K*H] with gate recurrence). Output: hₜ [*B, O], O = H
    unless projected. Packing: i, f, g, o. Parameters: 4H(I + H + 1) as it stands; H(I + H + 1)
    less for a gate removed or coupled, H more for the peephole of each gate, (KH)² for R with K gates; projected
    4H(I + O + 1) + HO.
    Init: W glorot uniform and U orthogonal per gate, b_f = 1, other biases zero, peepholes zero, R orthogonal per gate,
    W_proj glorot uniform.
    Differs from the papers: biases and initial values are the usual ones of today, not theirs.
    References: Hochreiter & Schmidhuber 1997, Neural Computation 9(8); Gers, Schmidhuber & Cummins 2000 (forget gate);
    Gers, Schraudolph & Schmidhuber 2002 (peepholes); Sak et al. 2014, arXiv:1402.1128 (projection); Greff et al. 2015,
    arXiv:1503.04069 (the variants).

    Raises:
      ValueError: `coupled` without a forget gate or with the input gate removed; gate recurrence without a gate; a bias
        given for a gate that is not there; sizes below 1.
    """
    H, O = hidden_size, hidden_size if projection_size is None else projection_size
    check_size(hidden_size=H, projection_size=O)
    given = {"forget_bias": forget_bias, "input_bias": input_bias, "output_bias": output_bias}
    check_bias(cell_bias=cell_bias, **{label: value for label, value in given.items() if value is not None})
    if coupled and not (forget_gate and input_gate):
        raise ValueError("coupled=True sets i = 1 - f: it needs forget_gate=True and input_gate=True")
    if input_bias is not None and (coupled or not input_gate):
        raise ValueError(f"input_bias={input_bias} was given, but this cell has no input gate of its own")
    if forget_bias is not None and not forget_gate:
        raise ValueError(f"forget_bias={forget_bias} was given, but this cell has no forget gate")
    if output_bias is not None and not output_gate:
        raise ValueError(f"output_bias={output_bias} was given, but this cell has no output gate")
    has_gate = {"i": input_gate and not coupled, "f": forget_gate, "g": True, "o": output_gate}
    packing = [gate for gate, present in has_gate.items() if present]
    sigmoid_gates = [gate for gate in packing if gate != "g"]
    if gate_recurrence and not sigmoid_gates:
        raise ValueError("gate_recurrence=True needs at least one gate")

    def init(key: Array, input_size: int) -> LSTMParams:
        key_W, key_U, key_b, key_R, key_proj = jax.random.split(key, 5)
        G, K = len(packing), len(sigmoid_gates)
        return LSTMParams(
            W=per_gate(kernel_init, key_W, input_size, H, G),
            U=per_gate(recurrent_init, key_U, O, H, G),
            b=init_biases(key_b),
            peephole={gate: jnp.zeros(H, jnp.float32) for gate in sigmoid_gates} if peepholes else None,
            R=per_gate(recurrent_init, key_R, K * H, H, K) if gate_recurrence else None,
            W_proj=None if projection_size is None else glorot_uniform(key_proj, (H, O), jnp.float32),
        )

    def init_biases(key: Array) -> Array:
        keys = dict(zip("ifgo", jax.random.split(key, 4), strict=True))
        b = {"g": init_bias(cell_bias, keys["g"], H), "o": init_bias(output_bias or 0.0, keys["o"], H)}
        b_f = 1.0 if forget_bias is None else forget_bias
        b["f"] = init_bias(b_f, keys["f"], H)
        forget = (b_f, b["f"]) if forget_gate else None
        b["i"] = init_input_bias(input_bias, keys["i"], H, forget=forget)
        return jnp.concatenate([b[gate] for gate in packing])

    def initial_carry(params: LSTMParams, batch_shape: tuple[int, ...] = ()) -> LSTMCarry:
        gates = zeros(params, *batch_shape, len(sigmoid_gates) * H) if gate_recurrence else None
        return LSTMCarry(zeros(params, *batch_shape, O), zeros(params, *batch_shape, H), gates)

    def step(p: LSTMParams, carry: LSTMCarry, z: Array) -> tuple[LSTMCarry, Array]:
        h, c, gates = carry
        if cut_gradient:
            h, gates = jax.lax.stop_gradient((h, gates))
        packed = name(z + recur(h, p.U), "preactivation")
        of = dict(zip(packing, split(packed, len(packing)), strict=True))
        if gate_recurrence:
            r = split(name(recur(gates, p.R), "preactivation"), len(sigmoid_gates))
            of |= {gate: of[gate] + from_gates for gate, from_gates in zip(sigmoid_gates, r, strict=True)}

        def gate(letter: str, c: Array) -> Array:
            return sigmoid(of[letter] + p.peephole[letter] * c if peepholes else of[letter])

        f: Any = name(gate("f", c), "forget_gate") if forget_gate else 1.0
        i = name(1 - f if coupled else gate("i", c), "input_gate") if input_gate else 1.0
        g = input_activation(of["g"]) if input_activation else of["g"]
        c = f * c + i * g
        o = name(gate("o", c), "output_gate") if output_gate else 1.0
        h = o * (output_activation(c) if output_activation else c)
        if projection_size is not None:
            h = dense(h, p.W_proj)
        if gate_recurrence:
            gates = jnp.concatenate([{"i": i, "f": f, "o": o}[gate] for gate in sigmoid_gates], axis=-1)
        return LSTMCarry(h, c, gates), h

    return Cell(O, init, initial_carry, affine, step)


def _variant(what: str, **switches: Any) -> Callable[..., Cell]:
    variant = partial(lstm, **switches)
    variant.__doc__ = f"{what} of Greff et al. 2015); options as `lstm`."
    return variant


lstm_np = _variant("No peepholes: the everyday LSTM (NP")
lstm_vanilla = _variant("Vanilla LSTM with peepholes, all gates (V", peepholes=True)
lstm_nig = _variant("No input gate, i = 1 (NIG", peepholes=True, input_gate=False)
lstm_nfg = _variant("No forget gate, f = 1 (NFG", peepholes=True, forget_gate=False)
lstm_nog = _variant("No output gate, o = 1 (NOG", peepholes=True, output_gate=False)
lstm_niaf = _variant("No input activation, g linear (NIAF", peepholes=True, input_activation=None)
lstm_noaf = _variant("No output activation, h = o ⊙ c (NOAF", peepholes=True, output_activation=None)
lstm_cifg = _variant("Coupled input and forget gate, i = 1 − f (CIFG", peepholes=True, coupled=True)
lstm_fgr = _variant("Full gate recurrence, nine more matrices (FGR", peepholes=True, gate_recurrence=True)


@shown
def lstm_1997(
    hidden_size: int,
    *,
    input_bias: Bias = 0.0,
    output_bias: Bias = 0.0,
    cell_bias: Bias = 0.0,
    cut_gradient: bool = False,
    kernel_init: Initializer = glorot_uniform,
    recurrent_init: Initializer = orthogonal,
) -> Cell:
    """Long short-term memory as first published: no forget gate, no peepholes.

        iₜ = σ(W_i xₜ + U_i hₜ₋₁ + b_i)                          i = 1 writes
        gₜ = 4 σ(W_g xₜ + U_g hₜ₋₁ + b_g) − 2
        cₜ = cₜ₋₁ + iₜ ⊙ gₜ
        oₜ = σ(W_o xₜ + U_o hₜ₋₁ + b_o)                          o = 1 shows
        hₜ = oₜ ⊙ (2 σ(cₜ) − 1)

    Carry: LSTMCarry(h [*B, H], c [*B, H]). Output: hₜ [*B, H]. Packing: i, g, o. Parameters: 3H(I + H + 1).
    Init: as `lstm`. `cut_gradient=True` truncates the gradient at the gates and block inputs as the paper does.
    Differs from the paper: memory blocks of one cell each; gates see the outputs h, not each other's activations;
    initial weights are those of today, the paper drew them uniformly from small intervals.
    Reference: Hochreiter & Schmidhuber 1997, Neural Computation 9(8), section 4 and appendix A.1.
    """
    return lstm(
        hidden_size,
        forget_gate=False,
        input_activation=lambda z: 4 * sigmoid(z) - 2,
        output_activation=lambda c: 2 * sigmoid(c) - 1,
        input_bias=input_bias,
        output_bias=output_bias,
        cell_bias=cell_bias,
        cut_gradient=cut_gradient,
        kernel_init=kernel_init,
        recurrent_init=recurrent_init,
    )
