"""How far a gradient travels back in time: by lag, through Jacobians, by Lyapunov exponents, and through gates.

Everything here takes any Cell, a stack of cells among them, and knows none by name. Norms and singular values are
natural logarithms, since they leave the range of floating point within a hundred steps. Lags count steps back from a
sequence's end: the carry at lag k is the one handed from step T - k to the next.
"""

from rnnjax.gradients.by_lag import ByLag, by_training_step, gradient_by_lag, gradients_by_lag
from rnnjax.gradients.gates import Keeping, Saturation, gates, histogram, keeping_gates, saturation, time_constants
from rnnjax.gradients.horizon import (
    SMALLEST,
    Horizon,
    HorizonInterval,
    gradient_horizon,
    growth_rate,
    horizon_interval,
    mean_by_lag,
)
from rnnjax.gradients.jacobians import JacobianSpectrum, jacobian_spectrum, quantiles
from rnnjax.gradients.lyapunov import Lyapunov, lyapunov_spectrum
from rnnjax.gradients.reach import Derivatives, Reach, gradient_reach, output_derivatives
from rnnjax.gradients.tangents import state_size
from rnnjax.gradients.theory import (
    forget_bias_for,
    forget_gate_rate,
    linear_rate,
    mean_field_rate,
    mean_field_variance,
)

__all__ = [
    "SMALLEST",
    "ByLag",
    "Derivatives",
    "Horizon",
    "HorizonInterval",
    "JacobianSpectrum",
    "Keeping",
    "Lyapunov",
    "Reach",
    "Saturation",
    "by_training_step",
    "forget_bias_for",
    "forget_gate_rate",
    "gates",
    "gradient_by_lag",
    "gradient_horizon",
    "gradient_reach",
    "gradients_by_lag",
    "growth_rate",
    "histogram",
    "horizon_interval",
    "jacobian_spectrum",
    "keeping_gates",
    "linear_rate",
    "lyapunov_spectrum",
    "mean_by_lag",
    "mean_field_rate",
    "mean_field_variance",
    "output_derivatives",
    "quantiles",
    "saturation",
    "state_size",
    "time_constants",
]
