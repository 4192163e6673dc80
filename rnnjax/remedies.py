"""Remedies for the vanishing gradient that compose with any cell: Cell -> Cell, and terms of the loss."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.cell import Array, Cell, check_positive, check_size, intercept_recur, where_each, zeros
from rnnjax.errors import unknown
from rnnjax.initializers import Initializer, glorot_uniform, identity, orthogonal, per_gate
from rnnjax.wrappers import recurrent_leaves

Loss = Callable[[Array], Array]
SQUARINGS = 12  # of UᵀU: 2¹² steps of power iteration


def rotations(key: Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Array:
    """H/2 rotations of the plane by angles from U[-π, π]: a unitary diagonal matrix in real numbers.

    The start of a diagonal of phases (Arjovsky, Shah & Bengio 2016, arXiv:1511.06464, section 4.1). An odd last unit
    keeps its value.
    """
    size = shape[0]
    angle = jax.random.uniform(key, (size // 2,), dtype, -jnp.pi, jnp.pi)
    even = 2 * jnp.arange(size // 2)
    matrix = jnp.eye(size, dtype=dtype)
    matrix = matrix.at[even, even].set(jnp.cos(angle)).at[even + 1, even + 1].set(jnp.cos(angle))
    return matrix.at[even, even + 1].set(jnp.sin(angle)).at[even + 1, even].set(-jnp.sin(angle))


STARTS: dict[str, Initializer] = {
    "glorot": glorot_uniform,
    "gaussian": lambda key, shape, dtype=jnp.float32: jax.random.normal(key, shape, dtype) / shape[0] ** 0.5,
    "identity": identity(),
    "orthogonal": orthogonal,
    "rotations": rotations,
}


# --- cells from cells ------------------------------------------------------------------------------------------------


def leaky_integration(cell: Cell, alpha: float) -> Cell:
    """Leaky integration: the carry moves towards what the cell makes of it, by a share α a step.

        cₜ = (1 - α) cₜ₋₁ + α c̃ₜ,   c̃ₜ = the carry after a step of the cell from cₜ₋₁

    The Jacobian gains a part (1 - α) I that no matrix or nonlinearity shrinks: a time constant of 1/α steps. Whole
    numbers in a carry (a counter) are left alone. Where the output is a leaf of the carry, it is that leaf as mixed;
    so this goes next to the cell. Parameters and carry: those of the cell.
    Source: Jaeger, Lukoševičius, Popovici & Siewert 2007, "Optimization and applications of echo state networks with
    leaky-integrator neurons", Neural Networks 20(3), section 2; Bengio, Boulanger-Lewandowski & Pascanu 2013,
    arXiv:1212.0901, section 3.2.

    Raises:
      ValueError: an α outside (0, 1].
    """
    if not 0 < alpha <= 1:
        raise ValueError(f"alpha={alpha!r} must lie in (0, 1]")

    def step(p: Any, carry: Any, z: Any) -> tuple[Any, Array]:
        new, y = cell.step(p, carry, z)
        old_leaves, _ = _inexact(carry)
        new_leaves, rebuild = _inexact(new)
        mixed = [(1 - alpha) * old + alpha * made for old, made in zip(old_leaves, new_leaves, strict=True)]
        return rebuild(mixed), _followed(y, new_leaves, mixed)

    return cell._replace(step=step, linear=False)


class SkipParams(NamedTuple):
    """Parameters of a cell in `skip_through_time`, and a second matrix for each of its recurrent products."""

    cell: Any
    V: tuple[Array, ...]


class SkipCarry(NamedTuple):
    cell: Any
    past: tuple[Array, ...]  # by product, [*B, skip - 1, H]: what met its matrix in the steps before, the oldest first


def skip_through_time(cell: Cell, skip: int, *, recurrent_init: Initializer = glorot_uniform) -> Cell:
    """Skip connections through time: whatever meets a recurrent matrix also comes from `skip` steps back.

        U hₜ₋₁ becomes U hₜ₋₁ + V hₜ₋ₛ,   s = skip,   zeros before the first step

    for every recurrent product of the cell, each with a V of its own, so a gradient goes back T steps in T/s products.
    Carry: SkipCarry(the cell's, the s - 1 states before). Parameters: those of the cell, and every recurrent matrix a
    second time. Init: V glorot uniform.
    Source: Lin, Horne, Tiňo & Giles 1996, "Learning long-term dependencies in NARX recurrent neural networks", IEEE
    Transactions on Neural Networks 7(6), section IV (taps 1 and s alone); Zhang et al. 2016, arXiv:1602.08210, section
    3.3.

    Raises:
      ValueError: a skip below 2; at initialisation, a cell whose state meets no matrix, or meets it in complex numbers.
    """
    check_size(skip=skip)
    if skip < 2:
        raise ValueError("skip=1 is the recurrent connection itself; it must be at least 2")

    def init(key: Array, input_size: int) -> SkipParams:
        key_cell, key_V = jax.random.split(key)
        params = cell.init(key_cell, input_size)
        shapes: list[tuple[int, int]] = []

        def note(product, h, U):
            if jnp.iscomplexobj(h) or jnp.iscomplexobj(U):
                raise ValueError("skip_through_time: the state of this cell meets its matrices in complex numbers")
            shapes.append(U.shape)
            return product(h, U)

        def one_step(params, x):
            p = cell.prepare(params, None, x.shape)
            return cell.step(p, cell.initial_carry(params), cell.project(p, x))

        with intercept_recur(note):
            jax.eval_shape(one_step, params, jax.ShapeDtypeStruct((input_size,), jnp.float32))
        if not shapes:
            raise ValueError("skip_through_time: the state of this cell meets no matrix")
        keys = jax.random.split(key_V, len(shapes))
        return SkipParams(params, tuple(recurrent_init(k, s, jnp.float32) for k, s in zip(keys, shapes, strict=True)))

    def initial_carry(params: SkipParams, batch_shape: tuple[int, ...] = ()) -> SkipCarry:
        past = tuple(zeros(params, *batch_shape, skip - 1, V.shape[0]) for V in params.V)
        return SkipCarry(cell.initial_carry(params.cell, batch_shape), past)

    def prepare(params: SkipParams, key: Array | None = None, input_shape: tuple[int, ...] = ()) -> SkipParams:
        return params._replace(cell=cell.prepare(params.cell, key, input_shape))

    def step(p: SkipParams, carry: SkipCarry, z: Any) -> tuple[SkipCarry, Array]:
        parts = zip(carry.past, p.V, strict=True)
        moved = []

        def both(product, h, U):
            past, V = next(parts)
            moved.append(jnp.concatenate([past[..., 1:, :], h[..., None, :]], axis=-2))
            return product(h, U) + product(past[..., 0, :], V)

        with intercept_recur(both):
            new, y = cell.step(p.cell, carry.cell, z)
        return SkipCarry(new, tuple(moved)), y

    def project(p: SkipParams, x: Array) -> Any:
        return cell.project(p.cell, x)

    return Cell(cell.output_size, init, initial_carry, project, step, prepare)


def spectral_norm(cell: Cell, limit: float = 1.0) -> Cell:
    """Spectral norm control: every square recurrent matrix rescaled to a largest singular value of `limit`.

        U becomes limit · U / σ₁(U),   once per sequence, differentiated through

    A matrix that packs several gates side by side is rescaled block by block; one that is not made of square blocks is
    left as it is. σ₁ is found by 4,096 steps of power iteration, as 12 squarings of UᵀU, from no particular start and
    keeping no state. Which parameters those are is found by tracing a step, as for `weight_norm`. Parameters and carry
    are the cell's.
    Source: Miyato, Kataoka, Koyama & Yoshida 2018, arXiv:1802.05957, section 2.1 (there one step of power iteration for
    each step of training).

    Raises:
      ValueError: a limit that is not above 0; at initialisation, a cell whose state meets no square matrix.
    """
    check_positive(limit=limit)

    def init(key: Array, input_size: int) -> Any:
        params = cell.init(key, input_size)
        _square_recurrent("spectral_norm", cell, params, input_size)
        return params

    def prepare(params: Any, key: Array | None = None, input_shape: tuple[int, ...] = ()) -> Any:
        leaves, structure = jax.tree.flatten(params)
        chosen = _square_recurrent("spectral_norm", cell, params, input_shape[-1])
        scaled = [_rescaled(leaf, limit) if is_chosen else leaf for leaf, is_chosen in zip(leaves, chosen, strict=True)]
        return cell.prepare(jax.tree.unflatten(structure, scaled), key, input_shape)

    return cell._replace(init=init, prepare=prepare)


def _rescaled(U: Array, limit: float) -> Array:
    blocks = jnp.moveaxis(U.reshape(U.shape[0], -1, U.shape[0]), 1, 0)  # [G, H, H]
    scaled = limit * blocks / jnp.maximum(_largest_singular_value(blocks), jnp.finfo(U.dtype).tiny)[:, None, None]
    return jnp.moveaxis(scaled, 0, 1).reshape(U.shape)


def _largest_singular_value(U: Array) -> Array:
    """σ₁ of U [G, H, H] as ‖U v‖, v the leading right singular vector, which is a constant to the derivative."""
    fixed = lax.stop_gradient(U)

    def normalised(power: Array) -> Array:
        return power / jnp.maximum(jnp.max(jnp.abs(power), axis=(1, 2), keepdims=True), jnp.finfo(U.dtype).tiny)

    power = normalised(jnp.swapaxes(fixed, 1, 2) @ fixed)
    power = lax.fori_loop(0, SQUARINGS, lambda _, power: normalised(power @ power), power)
    longest = jnp.argmax(jnp.sum(power**2, axis=1), axis=-1)  # its columns all point along v
    v = jnp.take_along_axis(power, longest[:, None, None], axis=2)
    v = v / jnp.maximum(jnp.linalg.norm(v, axis=1, keepdims=True), jnp.finfo(U.dtype).tiny)
    return _norm([U @ v], 1)


def recurrent_start(cell: Cell, start: str, scale: float = 1.0) -> Cell:
    """Other initial values of the square recurrent matrices, block by block where gates are packed; the rest as it is.

    `start` is a name in STARTS: "glorot" (uniform, Glorot & Bengio 2010), "gaussian" (N(0, 1/H)), "identity" (Le,
    Jaitly & Hinton 2015, arXiv:1504.00941), "orthogonal" (Saxe, McClelland & Ganguli 2014, arXiv:1312.6120),
    "rotations" (unitary: Arjovsky, Shah & Bengio 2016, arXiv:1511.06464). The values are multiplied by `scale`. Which
    parameters those are is found by tracing a step; square ones that a matrix is only made of are replaced as well.

    Raises:
      ValueError: an unknown start; at initialisation, a cell whose state meets no square matrix.
    """
    if start not in STARTS:
        raise ValueError(unknown("start", start, STARTS))

    def init(key: Array, input_size: int) -> Any:
        params = cell.init(key, input_size)
        leaves, structure = jax.tree.flatten(params)
        for number, is_chosen in enumerate(_square_recurrent("recurrent_start", cell, params, input_size)):
            if is_chosen:
                rows, columns = leaves[number].shape
                key_leaf = jax.random.fold_in(key, number)
                leaves[number] = scale * per_gate(STARTS[start], key_leaf, rows, rows, columns // rows)
        return jax.tree.unflatten(structure, leaves)

    return cell._replace(init=init)


def _square_recurrent(what: str, cell: Cell, params: Any, input_size: int) -> list[bool]:
    """For each leaf of the parameters, whether it is square blocks side by side that the state meets in a step."""
    leaves = jax.tree.leaves(params)
    met = recurrent_leaves(cell, params, input_size)
    chosen = [
        is_met and leaf.ndim == 2 and leaf.shape[1] % leaf.shape[0] == 0
        for leaf, is_met in zip(leaves, met, strict=True)
    ]
    if not any(chosen):
        raise ValueError(f"{what}: the state of this cell meets no square matrix")
    return chosen


class TruncatedCarry(NamedTuple):
    cell: Any
    t: Array  # [*B], steps so far


def truncated(cell: Cell, steps: int) -> Cell:
    """Truncated backpropagation through time: no gradient goes through the carry at every `steps`-th step.

        cₜ = cell(stop_gradient(cₜ₋₁) if t mod steps = 0 else cₜ₋₁, xₜ),   t = 0, 1, ...

    The numbers forward are those of the cell. From the end of a sequence the gradient reaches back 1 to `steps` steps,
    by where the last cut falls. Carry: TruncatedCarry(the cell's, steps so far [*B] int32). Parameters: those of the
    cell.
    Source: Williams & Peng 1990, "An efficient gradient-based algorithm for on-line training of recurrent network
    trajectories", Neural Computation 2(4), BPTT(h; h') with h = h' = steps.

    Raises:
      ValueError: fewer than one step.
    """
    check_size(steps=steps)

    def initial_carry(params: Any, batch_shape: tuple[int, ...] = ()) -> TruncatedCarry:
        return TruncatedCarry(cell.initial_carry(params, batch_shape), jnp.zeros(batch_shape, jnp.int32))

    def step(p: Any, carry: TruncatedCarry, z: Any) -> tuple[TruncatedCarry, Array]:
        before = where_each(carry.t % steps == 0, lax.stop_gradient(carry.cell), carry.cell)
        new, y = cell.step(p, before, z)
        return TruncatedCarry(new, carry.t + 1), y

    return cell._replace(initial_carry=initial_carry, step=step, linear=False)


# --- terms of the loss -----------------------------------------------------------------------------------------------


def omega(cell: Cell, params: Any, xs: Array, loss: Loss) -> Array:
    """The regulariser Ω that keeps the gradient's norm as it goes back through time, a mean over examples.

        Ω = Σₖ ( ‖∂E/∂hₖ₊₁ · ∂hₖ₊₁/∂hₖ‖ / ‖∂E/∂hₖ₊₁‖ - 1 )²,   k = 0..T-1

    Its gradient is the immediate one of the paper: hₖ and ∂E/∂hₖ₊₁ are constants, and only the step from k to k + 1
    depends on the parameters. Norms join all real leaves of the carry; steps where ∂E/∂hₖ₊₁ is zero add nothing. What
    the loss reads at step k + 1 is part of ∂E/∂hₖ₊₁ where the output is a leaf of the carry.
    Differs from the paper: its state is the pre-activation, ours the carry, so that the slope of the nonlinearity is
    that of the step to k + 1.
    Costs about as much again as the gradient of the loss itself. Evaluation: nothing random.

    Args:
      cell, params: as for `unroll`.
      xs: inputs [T, *B, I].
      loss: outputs [T, *B, O] -> losses, one an example (or their sum).

    Source: Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063, section 3.3, equations 9 and 10.
    """
    batch_shape = xs.shape[1:-1]
    fixed = lax.stop_gradient(params)
    p_fixed = cell.prepare(fixed, None, xs.shape[1:])
    initial = cell.initial_carry(fixed, batch_shape)

    def run(probes: list[Array]) -> tuple[Array, Any]:
        def step(carry, inputs):
            x, added = inputs
            new, y = cell.step(p_fixed, carry, cell.project(p_fixed, x))
            leaves, rebuild = _inexact(new)
            probed = [leaf + more for leaf, more in zip(leaves, added, strict=True)]
            return rebuild(probed), (carry, _followed(y, leaves, probed))

        _, (carries, ys) = lax.scan(step, initial, (xs, probes))
        return jnp.sum(loss(ys)), carries

    nothing = [jnp.zeros((len(xs), *leaf.shape), leaf.dtype) for leaf in _inexact(initial)[0]]
    gradients, carries = lax.stop_gradient(jax.grad(run, has_aux=True)(nothing))
    axes = 1 + len(batch_shape)
    largest = jnp.max(jnp.stack([jnp.max(_flat(jnp.abs(leaf), axes), axis=-1) for leaf in gradients]), axis=0)
    scale = jnp.where(largest > 0, largest, 1)  # so that no square underflows
    gradients = [leaf / scale.reshape(scale.shape + (1,) * (leaf.ndim - axes)) for leaf in gradients]
    p = cell.prepare(params, None, xs.shape[1:])

    def back(carry: Any, x: Array, gradient: list[Array]) -> list[Array]:
        leaves, rebuild = _inexact(carry)

        def step(leaves: list[Array]) -> list[Array]:
            return _inexact(cell.step(p, rebuild(leaves), cell.project(p, x))[0])[0]

        return jax.vjp(step, leaves)[1](gradient)[0]

    after = _norm(jax.vmap(back)(carries, xs, gradients), axes)
    before = _norm(gradients, axes)
    terms = jnp.where(largest > 0, (after / jnp.where(largest > 0, before, 1) - 1) ** 2, 0)
    return jnp.mean(jnp.sum(terms, axis=0))


def reconstruction(ys: Array, xs: Array, V: Array, c: Array, lag: int, lengths: Array | None = None) -> Array:
    """An auxiliary loss: every output has to tell, linearly, what the input was `lag` steps before.

        mean over t and examples of ‖V yₜ + c - xₜ₋ₗ‖²,   l = lag

    With lag = -1 it has to predict the next input, with 0 it names the present one. Only pairs within a sequence count.
    Simpler than the paper's: every step is an anchor, the readout is linear, and the gradient goes through all of time.

    Args:
      ys, xs: outputs [T, B, O] and inputs [T, B, I].
      V, c: the readout, [O, I] and [I].
      lag: in steps, of absolute value below T.
      lengths: of the sequences, [B].

    Source: Trinh, Dai, Luong & Le 2018, arXiv:1803.00144, section 3.
    """
    num_steps = len(xs)
    if abs(lag) >= num_steps:
        raise ValueError(f"auxiliary lag {lag} must be of absolute value below the {num_steps} steps of a sequence")
    first, last = max(lag, 0), num_steps + min(lag, 0)  # of the steps t for which t - lag is a step as well
    told = ys[first:last] @ V + c
    errors = jnp.sum((told - xs[first - lag : last - lag]) ** 2, axis=-1)
    if lengths is None:
        return jnp.mean(errors)
    latest = jnp.arange(first, last)[:, None] + max(-lag, 0)
    counted = latest < lengths
    return jnp.sum(jnp.where(counted, errors, 0)) / jnp.maximum(jnp.sum(counted), 1)


# --- parts -----------------------------------------------------------------------------------------------------------


def _inexact(tree: Any) -> tuple[list[Array], Callable[[list[Array]], Any]]:
    """The real and complex leaves, and the way back: with others in their place, whole numbers as they were."""
    leaves, structure = jax.tree.flatten(tree)
    places = [i for i, leaf in enumerate(leaves) if jnp.issubdtype(leaf.dtype, jnp.inexact)]

    def rebuild(others: list[Array]) -> Any:
        given = dict(zip(places, others, strict=True))
        return jax.tree.unflatten(structure, [given.get(i, leaf) for i, leaf in enumerate(leaves)])

    return [leaves[i] for i in places], rebuild


def _followed(y: Array, leaves: list[Array], replaced: list[Array]) -> Array:
    """The output, or, where it is one of the leaves, what has replaced that leaf."""
    return next((new for old, new in zip(leaves, replaced, strict=True) if old is y), y)


def _flat(leaf: Array, axes: int) -> Array:
    return leaf.reshape(*leaf.shape[:axes], -1)


def _norm(leaves: list[Array], axes: int) -> Array:
    """The norm over all but the first axes, of all leaves together; its derivative at zero is zero."""
    square = sum(jnp.sum(_flat(jnp.abs(leaf) ** 2, axes), axis=-1) for leaf in leaves)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
