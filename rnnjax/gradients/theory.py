"""Reach where theory gives it: growth rates of the gradient in natural logarithms per step; horizons are -1 / rate."""

import math
from collections.abc import Callable

import numpy as np

NODES = 100  # of the quadrature


def linear_rate(a: complex) -> float:
    """log |a|: of h' = a h the gradient at lag k is a^k, exactly; 0 (an infinite horizon) for every |a| = 1.

    The same for an orthogonal or unitary matrix without nonlinearity (Saxe, McClelland & Ganguli 2014,
    arXiv:1312.6120; Arjovsky, Shah & Bengio 2016, arXiv:1511.06464): all its eigenvalues have |a| = 1.
    """
    return math.log(abs(a)) if a else -math.inf


def forget_gate_rate(bias: float) -> float:
    """log σ(b_f): of the path from c to c alone, with the forget gate at its bias; σ(b_f)^k at lag k.

    Source: Gers, Schmidhuber & Cummins 2000, Neural Computation 12(10); as a time scale Tallec & Ollivier 2018,
    arXiv:1804.11188, section 2.
    """
    return -math.log1p(math.exp(-bias))


def forget_bias_for(steps: float) -> float:
    """The forget bias whose gate forgets in T steps: σ(b_f) = 1 - 1/T, so b_f = log(T - 1).

    Its horizon -1 / log σ(b_f) lies half a step below T, and closer to that the larger T.
    Source: Tallec & Ollivier 2018, arXiv:1804.11188, section 2.

    Raises:
      ValueError: one step or less, which no bias gives.
    """
    if not steps > 1:
        raise ValueError(f"steps={steps} must be above 1: a gate at σ(b) = 1 - 1/T needs T > 1")
    return math.log(steps - 1)


def mean_field_variance(
    gain: float,
    input_variance: float = 0.0,
    activation: Callable[[np.ndarray], np.ndarray] = np.tanh,
) -> float:
    """The variance q* of a pre-activation in a wide random network, at its fixed point.

        q* = g² E[φ(√q* z)²] + σ²,      z ~ N(0, 1)

    g² is H times the variance of an entry of U (an orthogonal matrix times g has that, too), σ² the variance of
    W x + b, drawn anew at every step. For tanh without input, q* = 0 up to g = 1.
    Source: Poole et al. 2016, arXiv:1606.05340; of recurrent networks Sompolinsky, Crisanti & Sommers 1988.
    """
    z, weights = _gauss()
    q = 1.0
    for _ in range(100_000):
        new = gain**2 * float(weights @ activation(math.sqrt(q) * z) ** 2) + input_variance
        if abs(new - q) <= 1e-14 * (1 + q):
            return new
        q = new
    return q


def mean_field_rate(
    gain: float,
    input_variance: float = 0.0,
    activation: Callable[[np.ndarray], np.ndarray] = np.tanh,
    derivative: Callable[[np.ndarray], np.ndarray] = lambda z: 1 / np.cosh(z) ** 2,
) -> float:
    """½ log χ: the rate at which the gradient's norm grows per step back, in a wide random network.

        χ = g² E[φ'(√q* z)²],      z ~ N(0, 1)

    With q* of `mean_field_variance`. χ is the mean squared singular value of a step's Jacobian: below 1 the gradient
    vanishes, and a tanh network without input is critical at g = 1. The theory is of infinite width and takes the
    matrices of different steps as independent, which inputs drawn anew make nearly true of one matrix used again.
    Source: Schoenholz et al. 2017, arXiv:1611.01232 (depth scale of the gradient -1 / log χ for squared norms,
    hence half the rate here); of recurrent networks Chen, Pennington & Schoenholz 2018, arXiv:1806.05394.
    """
    z, weights = _gauss()
    q = mean_field_variance(gain, input_variance, activation)
    chi = gain**2 * float(weights @ derivative(math.sqrt(q) * z) ** 2)
    return 0.5 * math.log(chi) if chi > 0 else -math.inf


def _gauss() -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of the mean over a standard Gaussian (Gauss-Hermite quadrature)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    return nodes, weights / math.sqrt(2 * math.pi)
