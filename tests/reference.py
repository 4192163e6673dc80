"""The gated cells in float64 NumPy, one plain loop over time each, written from the papers.

They exist to be compared with, so they are slow, take no shortcut and share nothing with the
library. Shapes: `xs [T, *B, I]`, states `[*B, H]`, where `*B` may be empty. Weights act from the
right: input `W [I, G*H]`, recurrent `U [H, G*H]`, bias `b [G*H]`. The G gates are packed in the
order i, f, g, o (LSTM) and r, z, n (GRU); a gate that is absent is left out, the order is kept.
Every function returns the outputs `[T, *B, H]` and the final state.
"""

import numpy as np


def sigmoid(x):
    """σ(x) = 1 / (1 + e⁻ˣ), written so that it cannot overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def identity(x):
    """What stands in place of an activation function that was taken away."""
    return x


def _float64(*arrays):
    return tuple(np.asarray(array, np.float64) for array in arrays)


def _state(xs, size, initial):
    """An initial state `[*B, size]`; a scalar or unbatched `initial` is spread over the batch."""
    return np.zeros((*xs.shape[1:-1], size)) + np.asarray(initial, np.float64)


def elman(xs, W, U, b, h0=0.0, activation=np.tanh):
    """Simple recurrent network.

        hₜ = φ(W xₜ + U hₜ₋₁ + b)

    Returns ys, h. Reference: Elman 1990, Finding structure in time (there φ is the logistic
    function; tanh is the habit of today).
    """
    xs, W, U, b = _float64(xs, W, U, b)
    h, ys = _state(xs, U.shape[0], h0), []
    for x in xs:
        h = activation(x @ W + h @ U + b)
        ys.append(h)
    return np.stack(ys), h


def gru(xs, W, U, b, b_hn=0.0, h0=0.0, *, reset_gate=True, update_gate=True):
    """Gated recurrent unit, reset gate after the recurrent matrix (as in cuDNN and PyTorch).

        rₜ = σ(W_r xₜ + U_r hₜ₋₁ + b_r)                     r = 0 hides the past from n
        zₜ = σ(W_z xₜ + U_z hₜ₋₁ + b_z)                     z = 1 keeps h
        nₜ = tanh(W_n xₜ + b_n + rₜ ⊙ (U_n hₜ₋₁ + b_hn))
        hₜ = zₜ ⊙ hₜ₋₁ + (1 − zₜ) ⊙ nₜ

    `b_hn [H]` is the second bias of n, inside the reset. Without the reset gate r = 1; without the
    update gate h = n. Returns ys, h.
    Reference: Cho et al. 2014, arXiv:1406.1078 version 1; PyTorch's documentation of nn.GRU.
    """
    xs, W, U, b, b_hn = _float64(xs, W, U, b, b_hn)
    names = [name for name, on in (("r", reset_gate), ("z", update_gate), ("n", True)) if on]
    h, ys = _state(xs, U.shape[0], h0), []
    for x in xs:
        from_x = dict(zip(names, np.split(x @ W + b, len(names), axis=-1), strict=True))
        from_h = dict(zip(names, np.split(h @ U, len(names), axis=-1), strict=True))
        r = sigmoid(from_x["r"] + from_h["r"]) if reset_gate else 1.0
        z = sigmoid(from_x["z"] + from_h["z"]) if update_gate else 0.0
        n = np.tanh(from_x["n"] + r * (from_h["n"] + b_hn))
        h = z * h + (1.0 - z) * n
        ys.append(h)
    return np.stack(ys), h


def gru_reset_before(xs, W, U, b, h0=0.0, *, reset_gate=True, update_gate=True):
    """Gated recurrent unit, reset gate before the recurrent matrix.

        rₜ = σ(W_r xₜ + U_r hₜ₋₁ + b_r)                     eq. 5
        zₜ = σ(W_z xₜ + U_z hₜ₋₁ + b_z)                     eq. 6; z = 1 keeps h
        nₜ = tanh(W_n xₜ + U_n (rₜ ⊙ hₜ₋₁) + b_n)           eq. 8
        hₜ = zₜ ⊙ hₜ₋₁ + (1 − zₜ) ⊙ nₜ                      eq. 7

    The paper leaves the biases out of its equations. Without the reset gate r = 1; without the
    update gate h = n. Returns ys, h.
    Reference: Cho et al. 2014, arXiv:1406.1078 version 3, section 2.3. (Chung et al. 2014,
    arXiv:1412.3555, turn the update gate round: there z = 1 writes.)
    """
    xs, W, U, b = _float64(xs, W, U, b)
    names = [name for name, on in (("r", reset_gate), ("z", update_gate), ("n", True)) if on]
    hidden_size = U.shape[0]
    columns = {name: slice(k * hidden_size, (k + 1) * hidden_size) for k, name in enumerate(names)}

    def preactivation(name, x, h):
        k = columns[name]
        return x @ W[:, k] + h @ U[:, k] + b[k]

    h, ys = _state(xs, hidden_size, h0), []
    for x in xs:
        r = sigmoid(preactivation("r", x, h)) if reset_gate else 1.0
        z = sigmoid(preactivation("z", x, h)) if update_gate else 0.0
        n = np.tanh(preactivation("n", x, r * h))
        h = z * h + (1.0 - z) * n
        ys.append(h)
    return np.stack(ys), h


def lstm(
    xs,
    W,
    U,
    b,
    h0=0.0,
    c0=0.0,
    *,
    w_i=0.0,
    w_f=0.0,
    w_o=0.0,
    R=None,
    gates0=0.0,
    W_proj=None,
    input_gate=True,
    forget_gate=True,
    output_gate=True,
    coupled=False,
    input_activation=np.tanh,
    output_activation=np.tanh,
):
    """Long short-term memory with every part of it on a switch.

        iₜ = σ(W_i xₜ + U_i hₜ₋₁ + w_i ⊙ cₜ₋₁ + b_i)        i = 1 writes
        fₜ = σ(W_f xₜ + U_f hₜ₋₁ + w_f ⊙ cₜ₋₁ + b_f)        f = 1 keeps c
        gₜ = φ_in(W_g xₜ + U_g hₜ₋₁ + b_g)                  the paper's block input z
        cₜ = fₜ ⊙ cₜ₋₁ + iₜ ⊙ gₜ
        oₜ = σ(W_o xₜ + U_o hₜ₋₁ + w_o ⊙ cₜ + b_o)          o = 1 shows; sees the new c
        mₜ = oₜ ⊙ φ_out(cₜ)
        hₜ = mₜ, or mₜ W_proj                               the paper's block output y

    The variants of the paper, each one change of the peephole LSTM:
    - NIG, NFG, NOG: `input_gate`, `forget_gate` or `output_gate` False: that gate is 1.
    - NIAF, NOAF: `input_activation` or `output_activation` None: the identity.
    - NP: no peepholes, that is `w_i`, `w_f`, `w_o` (vectors [H]) left at zero.
    - CIFG: `coupled`: i = 1 − f, no i in the packing. The paper has f = 1 − i, which is the same
      cell with z_i = −z_f.
    - FGR: `R [K*H, K*H]`: every sigmoid gate also sees all the sigmoid gates of the step before.
      With the K gates present joined as s = [i, f, o], [z_i, z_f, z_o] gains sₜ₋₁ R, so block
      (row i, column f) leads from the input gate to the forget gate. s₀ is `gates0`, zero.
    Projection: `W_proj [H, P]`; then h has size P and `U` is [P, G*H].
    A peephole to a gate that is absent, or coupled, has no effect.

    Returns ys and (h, c), or (h, c, s) with gate recurrence.
    References: Greff et al. 2015, arXiv:1503.04069, section 2 and appendix; projection: Sak et
    al. 2014, arXiv:1402.1128 (without its output layer).
    """
    xs, W, U, b, w_i, w_f, w_o = _float64(xs, W, U, b, w_i, w_f, w_o)
    input_activation = input_activation or identity
    output_activation = output_activation or identity
    present = {"i": input_gate and not coupled, "f": forget_gate, "g": True, "o": output_gate}
    if coupled and not (input_gate and forget_gate):
        raise ValueError("coupled gates are one gate: it cannot be taken away")
    names = [name for name in "ifgo" if present[name]]
    gate_names = [name for name in names if name != "g"]
    hidden_size = b.shape[-1] // len(names)

    h = _state(xs, U.shape[0], h0)
    c = _state(xs, hidden_size, c0)
    s = _state(xs, len(gate_names) * hidden_size, gates0)
    ys = []
    for x in xs:
        z = dict(zip(names, np.split(x @ W + h @ U + b, len(names), axis=-1), strict=True))
        if R is not None:
            gained = np.split(s @ np.asarray(R, np.float64), len(gate_names), axis=-1)
            for name, gain in zip(gate_names, gained, strict=True):
                z[name] = z[name] + gain
        f = sigmoid(z["f"] + w_f * c) if present["f"] else np.ones_like(c)
        i = sigmoid(z["i"] + w_i * c) if present["i"] else np.ones_like(c)
        if coupled:
            i = 1.0 - f
        g = input_activation(z["g"])
        c = f * c + i * g
        o = sigmoid(z["o"] + w_o * c) if present["o"] else np.ones_like(c)
        m = o * output_activation(c)
        h = m if W_proj is None else m @ np.asarray(W_proj, np.float64)
        if gate_names:
            s = np.concatenate([{"i": i, "f": f, "o": o}[name] for name in gate_names], axis=-1)
        ys.append(h)
    return np.stack(ys), ((h, c) if R is None else (h, c, s))


def lstm_1997(xs, W, U, b, h0=0.0, c0=0.0):
    """The first long short-term memory: no forget gate, no peepholes. Packing: i, g, o.

        y_in(t)  = σ(net_in(t))                        net(t) = W x(t) + U y(t−1) + b
        y_out(t) = σ(net_out(t))
        s(t)     = s(t−1) + y_in(t) ⊙ g(net_c(t))      g(x) = 4 σ(x) − 2, in (−2, 2)
        y(t)     = y_out(t) ⊙ h(s(t))                  h(x) = 2 σ(x) − 1, in (−1, 1)

    The paper also allows connections from gate units and hidden units into every net; here a net
    sees the input and the cell outputs. Blocks are of size one. Returns ys, (y, s).
    Reference: Hochreiter & Schmidhuber 1997, Long short-term memory, section 4 and appendix.
    """
    xs, W, U, b = _float64(xs, W, U, b)
    y, s, ys = _state(xs, U.shape[0], h0), _state(xs, U.shape[0], c0), []
    for x in xs:
        net_in, net_c, net_out = np.split(x @ W + y @ U + b, 3, axis=-1)
        y_in, y_out = sigmoid(net_in), sigmoid(net_out)
        s = s + y_in * (4.0 * sigmoid(net_c) - 2.0)
        y = y_out * (2.0 * sigmoid(s) - 1.0)
        ys.append(y)
    return np.stack(ys), (y, s)
