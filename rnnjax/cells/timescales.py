"""Networks whose parts run at different speeds: clockwork, and fast cells around a slow one."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.cell import Array, Cell, affine, check_size, name, recur, shown, zeros
from rnnjax.cells.lstm import lstm
from rnnjax.initializers import Bias, Initializer, Normal, bias as init_bias, check_bias

narrow, narrow_bias = jax.nn.initializers.normal(0.1), Normal(0.1)


class ClockworkParams(NamedTuple):
    W: Array  # [I, H]
    U: Array  # [number of allowed connections], row by row of the matrix [H, H] they stand in
    b: Array  # [H]


class ClockworkCarry(NamedTuple):
    h: Array  # [*B, H]
    t: Array  # [*B], steps so far


@shown
def clockwork(
    hidden_size: int,
    *,
    periods: Sequence[int] | None = None,
    bias: Bias = narrow_bias,
    kernel_init: Initializer = narrow,
    recurrent_init: Initializer = narrow,
) -> Cell:
    """Clockwork network: a simple recurrent network in modules, each of which moves at its own clock.

        hₜ = tanh(W xₜ + U hₜ₋₁ + b)    in modules whose period divides t, t = 0, 1, 2, ...
        hₜ = hₜ₋₁                       in the others

    A unit sees those of its own module and of slower ones only: U is triangular by blocks. `periods` gives one period
    for each module, the units are divided among them as evenly as can be, larger modules first; by default they are 1,
    2, 4, ..., in eight modules, or fewer if there are fewer units.
    Carry: ClockworkCarry(h [*B, H], t [*B] int32). Output: hₜ [*B, H]. Parameters: H(I + 1) and one for each allowed
    connection: H²(g + 1) / 2g with g modules of one size.
    Init: all weights N(0, 0.1²).
    Differs from the paper: all modules are computed at every step and the idle ones thrown away, which takes the time
    of a simple recurrent network; time starts at 0, so that every module sees the first input.
    Reference: Koutník et al. 2014, arXiv:1402.3511, section 3.

    Raises:
      ValueError: no periods, a period below 1, or fewer units than modules.
    """
    H = hidden_size
    check_size(hidden_size=H)
    check_bias(bias=bias)
    periods = tuple(2**i for i in range(min(8, H))) if periods is None else tuple(periods)
    for period in periods:
        check_size(periods=period)
    if not 1 <= len(periods) <= H:
        raise ValueError(f"periods={periods} make {len(periods)} modules; hidden_size {H} can have 1 to {H}")
    sizes = [len(part) for part in np.array_split(np.arange(H), len(periods))]
    of_unit = np.repeat(periods, sizes)
    allowed = np.nonzero(of_unit[:, None] >= of_unit[None, :])  # from a row's unit to a column's
    rows, columns = (index.astype(np.int32) for index in allowed)

    def init(key: Array, input_size: int) -> ClockworkParams:
        key_W, key_U, key_b = jax.random.split(key, 3)
        return ClockworkParams(
            W=kernel_init(key_W, (input_size, H), jnp.float32),
            U=recurrent_init(key_U, (H, H), jnp.float32)[rows, columns],
            b=init_bias(bias, key_b, H),
        )

    def initial_carry(params: ClockworkParams, batch_shape: tuple[int, ...] = ()) -> ClockworkCarry:
        return ClockworkCarry(zeros(params, *batch_shape, H), jnp.zeros(batch_shape, jnp.int32))

    def prepare(params: ClockworkParams, key: Array | None = None, input_shape: tuple[int, ...] = ()):
        return params._replace(U=zeros(params, H, H).at[rows, columns].set(params.U))

    def step(p: ClockworkParams, carry: ClockworkCarry, z: Array) -> tuple[ClockworkCarry, Array]:
        h, t = carry
        active = t[..., None] % jnp.asarray(of_unit, jnp.int32) == 0
        h = jnp.where(active, jnp.tanh(name(z + recur(h, p.U), "preactivation")), h)
        return ClockworkCarry(h, t + 1), h

    return Cell(H, init, initial_carry, affine, step, prepare)


class FastSlow(NamedTuple):
    """Parameters and carry of `fast_slow`: params.fast is a tuple, one entry a fast cell; carry.fast is one carry."""

    fast: Any
    slow: Any


@shown
def fast_slow(
    hidden_size: int,
    *,
    fast_cells: int = 2,
    slow_size: int | None = None,
    cell: Callable[[int], Cell] = lstm,
    slow_cell: Callable[[int], Cell] | None = None,
) -> Cell:
    """Fast-slow network: k fast cells in a row share one state, a slow cell is asked once between the first two.

        f¹ₜ = F₁(fᵏₜ₋₁, xₜ)
        sₜ  = S(sₜ₋₁, f¹ₜ)
        f²ₜ = F₂(f¹ₜ, sₜ)
        fⁱₜ = Fᵢ(fⁱ⁻¹ₜ),   i = 3..k

    written as cell(state, input). `cell` makes a cell from its size: `lstm`, `gru`, partial(lstm, forget_bias=2.0);
    the fast ones have `hidden_size` units, the slow one `slow_size` (by default as many) and is made by `slow_cell`, if
    given. A cell without input sees one zero.
    Carry: FastSlow(fast, slow), of the cells' kind. Output: the output of F_k [*B, O]. Parameters: those of k + 1
    cells, of input sizes I, O_slow and then 1 for the fast ones, O_fast for the slow one.
    Init: that of the cells.
    Differs from the paper: its FS-LSTM is `cell=lstm_layer_norm` with zoneout; dropout between the cells is left out.
    Reference: Mujika, Meier & Steger 2017, arXiv:1705.08639, section 3; github.com/amujika/Fast-Slow-LSTM.

    Raises:
      ValueError: fewer than two fast cells, or a size below 1.
    """
    check_size(hidden_size=hidden_size, slow_size=hidden_size if slow_size is None else slow_size)
    if not isinstance(fast_cells, int) or fast_cells < 2:
        raise ValueError(f"fast_cells must be a whole number of at least 2, got {fast_cells!r}")
    fast = cell(hidden_size)
    slow = (slow_cell or cell)(hidden_size if slow_size is None else slow_size)

    def input_sizes(input_size: int) -> list[int]:
        return [input_size, slow.output_size] + [1] * (fast_cells - 2)

    def init(key: Array, input_size: int) -> FastSlow:
        key_slow, *keys = jax.random.split(key, 1 + fast_cells)
        params = tuple(fast.init(k, size) for k, size in zip(keys, input_sizes(input_size), strict=True))
        return FastSlow(params, slow.init(key_slow, fast.output_size))

    def initial_carry(params: FastSlow, batch_shape: tuple[int, ...] = ()) -> FastSlow:
        return FastSlow(fast.initial_carry(params.fast[0], batch_shape), slow.initial_carry(params.slow, batch_shape))

    def prepare(params: FastSlow, key: Array | None = None, input_shape: tuple[int, ...] = ()) -> FastSlow:
        key_slow, *keys = [None] * (1 + fast_cells) if key is None else jax.random.split(key, 1 + fast_cells)
        *batch, input_size = input_shape or (0,)
        shapes = [(*batch, size) for size in input_sizes(input_size)]
        p_fast = tuple(fast.prepare(p, k, shape) for p, k, shape in zip(params.fast, keys, shapes, strict=True))
        return FastSlow(p_fast, slow.prepare(params.slow, key_slow, (*batch, fast.output_size)))

    def project(p: FastSlow, x: Array) -> Any:
        return fast.project(p.fast[0], x)

    def step(p: FastSlow, carry: FastSlow, z: Any) -> tuple[FastSlow, Array]:
        state, y = fast.step(p.fast[0], carry.fast, z)
        slow_state, seen = slow.step(p.slow, carry.slow, slow.project(p.slow, y))
        for p_fast in p.fast[1:]:
            state, y = fast.step(p_fast, state, fast.project(p_fast, seen))
            seen = jnp.zeros_like(y[..., :1])
        return FastSlow(state, slow_state), y

    return Cell(fast.output_size, init, initial_carry, project, step, prepare)
