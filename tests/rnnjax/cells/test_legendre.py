"""Legendre memory units against their papers' equations, and what the memory remembers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.polynomial import Legendre
from scipy.signal import cont2discrete

from rnnjax import LMUCarry, linear_lmu, lmu
from rnnjax.cells.legendre import legendre_system
from tests.rnnjax.cells.agree import H, I, agree

D, THETA, K = 4, 6.0, 2


def system(order, theta):
    """From the paper's equations by another discretisation."""
    A, B = np.zeros((order, order)), np.zeros((order, 1))
    for i in range(order):
        B[i] = (2 * i + 1) * (-1) ** i
        for j in range(order):
            A[i, j] = (2 * i + 1) * (-1 if i < j else (-1) ** (i - j + 1))
    A, B, *_ = cont2discrete((A / theta, B / theta, np.eye(order), np.zeros((order, 1))), dt=1.0, method="zoh")
    return A, B[:, 0]


def lmu_reference(p, xs, carry):
    A, B = system(D, THETA)
    h, m, hs = carry.h, carry.m, []
    for x in xs:
        u = x @ p.e_x + h @ p.e_h + m @ p.e_m
        m = m @ A.T + u * B
        h = np.tanh(x @ p.W_x + h @ p.W_h + m @ p.W_m)
        hs.append(h)
    return LMUCarry(h, m), np.stack(hs)


def linear_lmu_reference(p, xs, m, f_1=lambda a: np.maximum(a, 0), f_2=lambda a: np.maximum(a, 0)):
    A, B = system(D, THETA)
    m, os = m.copy(), []
    for x in xs:
        u = f_1(x @ p.U_x + p.b_u)
        for k in range(K):
            m[:, k] = m[:, k] @ A.T + np.outer(u[:, k], B)
        os.append(f_2(m.reshape(len(m), -1) @ p.W_m + x @ p.W_x + p.b_o))
    return m, np.stack(os)


def test_lmu_agrees_with_its_paper():
    agree(lmu(H, order=D, theta=THETA), lmu_reference)


def test_linear_lmu_agrees_with_its_paper():
    agree(linear_lmu(H, num_signals=K, order=D, theta=THETA), linear_lmu_reference)
    cell = linear_lmu(H, num_signals=K, order=D, theta=THETA, input_activation=jnp.sin, output_activation=jnp.tanh)
    agree(cell, lambda p, xs, m: linear_lmu_reference(p, xs, m, np.sin, np.tanh))


def test_number_of_parameters():
    count = lambda cell: sum(
        leaf.size for leaf in jax.tree.leaves(jax.eval_shape(lambda: cell.init(jax.random.key(0), I)))
    )
    assert count(lmu(H, order=D)) == (I + H + D) * (H + 1)
    assert count(linear_lmu(H, num_signals=K, order=D)) == K * (I + 1) + H * (K * D + I + 1)


def test_the_memory_holds_the_window_as_legendre_coefficients():
    theta, order = 60.0, 10
    A, B = legendre_system(order, theta)
    times = np.arange(200)
    signal = np.sin(2 * np.pi * times / 70) + 0.5 * np.cos(2 * np.pi * times / 45)
    m = np.zeros(order)
    for u in signal:
        m = A @ m + B * u
    for lag in (0, 15, 30, 45, 60):
        basis = [Legendre.basis(i, domain=[0, theta])(lag) for i in range(order)]
        # Held for a step, the signal is half a step late on average.
        assert np.dot(basis, m) == pytest.approx(np.interp(199 - lag + 0.5, times, signal), abs=0.08), lag


def test_initial_values_are_those_of_the_paper():
    params = lmu(100, order=D).init(jax.random.key(0), I)
    assert np.all(np.asarray(params.e_m) == 0)
    assert np.abs(params.e_h).max() <= np.sqrt(3 / 100)
    assert np.var(params.W_h) == pytest.approx(1 / 100, rel=0.1)


@pytest.mark.parametrize("factory", [lmu, linear_lmu])
def test_refuses_windows_and_orders_that_are_none(factory):
    with pytest.raises(ValueError, match=r"theta is a number of steps of at least 1, got 0.5"):
        factory(H, theta=0.5)
    with pytest.raises(ValueError, match="order must be a whole number of at least 1, got 0"):
        factory(H, order=0)
