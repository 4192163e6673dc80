"""What changes the gradient alone, or where training starts: truncation and the start of recurrent matrices."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.cell import Array, Cell, check_size, shown, where_each
from rnnjax.errors import unknown
from rnnjax.initializers import Initializer, glorot_uniform, identity, orthogonal, per_gate, rotations
from rnnjax.wrappers.probe import square_recurrent

STARTS: dict[str, Initializer] = {
    "glorot": glorot_uniform,
    "gaussian": lambda key, shape, dtype=jnp.float32: jax.random.normal(key, shape, dtype) / shape[0] ** 0.5,
    "identity": identity(),
    "orthogonal": orthogonal,
    "rotations": rotations,
}


@shown
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
        for number, is_chosen in enumerate(square_recurrent("recurrent_start", cell, params, input_size)):
            if is_chosen:
                rows, columns = leaves[number].shape
                key_leaf = jax.random.fold_in(key, number)
                leaves[number] = scale * per_gate(STARTS[start], key_leaf, rows, rows, columns // rows)
        return jax.tree.unflatten(structure, leaves)

    return cell._replace(init=init)


class TruncatedCarry(NamedTuple):
    cell: Any
    t: Array  # [*B], steps so far


@shown
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
