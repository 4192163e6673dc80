"""The LSTM by hand: forward, and backward through time, with nothing but NumPy.

To be read beside the equations. Shapes: `xs [T, B, I]`, `h0, c0 [B, H]`, and the weights
`W [I, 4H]`, `U [H, 4H]`, `b [4H]`, their four blocks in the order i, f, g, o.

Forward, for t = 1 … T:

    [z_i z_f z_g z_o] = xₜ W + hₜ₋₁ U + b
    i = σ(z_i),  f = σ(z_f),  g = tanh(z_g),  o = σ(z_o)
    cₜ = f ⊙ cₜ₋₁ + i ⊙ g
    hₜ = o ⊙ tanh(cₜ)

Backward, for t = T … 1, writing δv for the derivative of the loss by v. A state is used twice, by
its own step and by the next one, so two terms meet in δh and in δc:

    δh = δyₜ + (δz U^⊤ of step t+1)
    δc = δh ⊙ o ⊙ (1 − tanh² cₜ) + (δc ⊙ f of step t+1)
    δz_i = δc ⊙ g ⊙ i(1 − i)              σ' = σ(1 − σ)
    δz_f = δc ⊙ cₜ₋₁ ⊙ f(1 − f)
    δz_g = δc ⊙ i ⊙ (1 − g²)              tanh' = 1 − tanh²
    δz_o = δh ⊙ tanh(cₜ) ⊙ o(1 − o)
    δW += xₜ^⊤ δz,  δU += hₜ₋₁^⊤ δz,  δb += δz summed over the batch,  δxₜ = δz W^⊤

The line that made the LSTM is `dc = dc * f`: from c to c the gradient meets no matrix and no
squashing function, only the forget gate, and with f = 1 it comes through whole.

References: Hochreiter & Schmidhuber 1997; Gers et al. 2000; Greff et al. 2015, section 2.
"""

import numpy as np


def sigmoid(x):
    """σ(x) = 1 / (1 + e⁻ˣ), written so that it cannot overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def forward(params, xs, h0, c0):
    """Runs `params` (a dict of W, U, b) over `xs`. Returns ys [T, B, H] and what backward needs."""
    W, U, b = params["W"], params["U"], params["b"]
    h, c = h0, c0
    ys, cache = [], []
    for x in xs:
        z_i, z_f, z_g, z_o = np.split(x @ W + h @ U + b, 4, axis=-1)
        i, f, g, o = sigmoid(z_i), sigmoid(z_f), np.tanh(z_g), sigmoid(z_o)
        h_before, c_before = h, c
        c = f * c_before + i * g
        tanh_c = np.tanh(c)
        h = o * tanh_c
        ys.append(h)
        cache.append((x, h_before, c_before, i, f, g, o, tanh_c))
    return np.stack(ys), cache


def backward(params, cache, dys):
    """From δys [T, B, H] the derivatives by W, U, b, xs, h0 and c0, in a dict by these names."""
    W, U, b = params["W"], params["U"], params["b"]
    dW, dU, db = np.zeros_like(W), np.zeros_like(U), np.zeros_like(b)
    dh, dc = np.zeros_like(dys[0]), np.zeros_like(dys[0])  # nothing comes from beyond the end
    dxs = []
    for (x, h_before, c_before, i, f, g, o, tanh_c), dy in zip(cache[::-1], dys[::-1], strict=True):
        dh = dh + dy
        dc = dc + dh * o * (1.0 - tanh_c**2)
        dz_i = dc * g * i * (1.0 - i)
        dz_f = dc * c_before * f * (1.0 - f)
        dz_g = dc * i * (1.0 - g**2)
        dz_o = dh * tanh_c * o * (1.0 - o)
        dz = np.concatenate([dz_i, dz_f, dz_g, dz_o], axis=-1)
        dW += x.T @ dz
        dU += h_before.T @ dz
        db += dz.sum(axis=0)
        dxs.append(dz @ W.T)
        dh = dz @ U.T  # to h of the step before
        dc = dc * f  # to c of the step before
    return {"W": dW, "U": dU, "b": db, "xs": np.stack(dxs[::-1]), "h0": dh, "c0": dc}
