"""Any cell or layer as a module of flax.nnx, in the place of `nnx.RNN`."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from rnnjax.cell import Array, Cell, check_size
from rnnjax.leaves import check_params
from rnnjax.wrappers.layers import Layer, layer


class RNN(nnx.Module):
    """A cell over a sequence: `unroll`, with the cell's params as nnx.Param leaves.

    It takes the keywords of `nnx.RNN` and, like it, expects inputs [*B, T, I] unless `time_major`. It differs in that

      - outputs stay in the order of the inputs with `reverse` (there: with keep_order=True);
      - outputs from a sequence's length on are zero, and its carry is that of its own last step;
      - dropout and other noise follow `deterministic`, so that `train()` and `eval()` of a module turn them on and off.

    Params stand in `params`, in the cell's own structure; `arrays()` gives them as plain arrays.
    """

    def __init__(
        self,
        cell: Cell | Layer,
        input_size: int,
        *,
        time_major: bool = False,
        return_carry: bool = False,
        reverse: bool = False,
        deterministic: bool = False,
        params: Any = None,
        rngs: nnx.Rngs,
        **options,
    ):
        """Draw the params, or take those given.

        Args:
          cell: a cell, a stack of them, or a layer such as `bidirectional(cell)`.
          input_size: number of features of the inputs.
          time_major: inputs and outputs are [T, *B, features], not [*B, T, features].
          return_carry: calls return (carry, outputs), not the outputs alone.
          reverse: run from the last step to the first; for cells only.
          deterministic: nothing random happens, such as dropout.
          params: those that `cell.init` would draw, from an earlier training or from another library.
          rngs: its stream `params` draws the params, a fork of its stream `dropout` is kept for calls.
          **options: of `unroll` (method, matmul_dtype); for cells only.

        Raises:
          ValueError: an input size below 1; an option for a layer; params that are not those of this cell and size.
        """
        check_size(input_size=input_size)
        self.layer = layer(cell, **({"reverse": True} if reverse else {}), **options)
        self.input_size = input_size
        self.time_major = time_major
        self.return_carry = return_carry
        self.deterministic = deterministic
        if params is None:
            params = cell.init(rngs.params(), input_size)
        else:
            wanted = jax.eval_shape(lambda: cell.init(jax.random.key(0), input_size))
            check_params(params, wanted, f"{cell!r} on {input_size} inputs")
        self.params = nnx.data(jax.tree.map(lambda leaf: nnx.Param(jnp.asarray(leaf)), params))
        self.rngs = rngs.dropout.fork()

    def __call__(
        self,
        inputs: Array,
        *,
        initial_carry: Any = None,
        seq_lengths: Array | None = None,
        resets: Array | None = None,
        time_major: bool | None = None,
        return_carry: bool | None = None,
        deterministic: bool | None = None,
        rngs: nnx.Rngs | nnx.RngStream | Array | None = None,
    ) -> Any:
        """Outputs [*B, T, O], or (carry, outputs) with `return_carry`; what is not given is as in the constructor.

        Args:
          inputs: [*B, T, I], or [T, *B, I] with `time_major`.
          initial_carry: the state to start from, as an earlier call returned it; None is the cell's initial one.
          seq_lengths: integers [*B], the number of steps of each sequence; padding is never read.
          resets: booleans [*B, T], or [T, *B] with `time_major`: where true the state is the initial one before that
            step.
          rngs: what random numbers are drawn from, in place of the stream of the constructor.

        Raises:
          ValueError: another number of features than `input_size`, and whatever `unroll` refuses.
        """
        time_major = self.time_major if time_major is None else time_major
        return_carry = self.return_carry if return_carry is None else return_carry
        deterministic = self.deterministic if deterministic is None else deterministic
        if jnp.ndim(inputs) < 2 or jnp.shape(inputs)[-1] != self.input_size:
            layout = "[T, *batch, input_size]" if time_major else "[*batch, T, input_size]"
            raise ValueError(f"inputs must be {layout} with input_size {self.input_size}, got {jnp.shape(inputs)}")
        xs = inputs if time_major else jnp.moveaxis(inputs, -2, 0)
        resets = resets if time_major or resets is None else jnp.moveaxis(resets, -1, 0)
        key = None if deterministic else _key(self.rngs if rngs is None else rngs)
        carry, ys = self.layer.apply(self.arrays(), xs, initial_carry, lengths=seq_lengths, resets=resets, key=key)
        ys = ys if time_major else jnp.moveaxis(ys, 0, -2)
        return (carry, ys) if return_carry else ys

    def arrays(self) -> Any:
        """The params as arrays, as `unroll` and `to_pytorch` take them."""
        return jax.tree.map(lambda p: p[...], self.params, is_leaf=lambda leaf: isinstance(leaf, nnx.Param))


def _key(rngs: nnx.Rngs | nnx.RngStream | Array) -> Array:
    if isinstance(rngs, nnx.Rngs):
        return rngs.dropout()
    return rngs() if isinstance(rngs, nnx.RngStream) else rngs
