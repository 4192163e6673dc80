"""Weights of PyTorch's recurrent layers, in and out. torch is imported only where tensors are made of params.

PyTorch keeps, for layer k (`_reverse` added for the backward direction), under torch.nn.RNN, GRU and LSTM alike:

    weight_ih_l{k} [G*H, I]     W transposed          gates i, f, g, o (LSTM); r, z, n (GRU); one block (RNN)
    weight_hh_l{k} [G*H, O]     U transposed
    bias_ih_l{k}, bias_hh_l{k} [G*H]                  b is their sum; in a GRU, b_hn is the n block of bias_hh
    weight_hr_l{k} [O, H]       W_proj transposed     of an LSTM with proj_size

nn.RNNCell, GRUCell and LSTMCell keep the same without `_l{k}`. The order of the gates is the one used here, so
nothing is permuted.
"""

import importlib
import importlib.util
from typing import Any

import jax.numpy as jnp
import numpy as np

from rnnjax.cells import ElmanParams, GRUParams, LSTMParams

Params = ElmanParams | GRUParams | LSTMParams


def from_pytorch(weights: Any, *, prefix: str = "") -> Any:
    """The params that give what a torch.nn.RNN, GRU or LSTM gives, from the module or from its `state_dict()`.

    The kind is told by the shapes: the rows of weight_hh are 1, 3 or 4 times the hidden size.

        nn.RNN, nn.RNNCell                 ElmanParams, for `elman` (or `elman_relu` with nonlinearity="relu")
        nn.GRU, nn.GRUCell                 GRUParams, for `gru`
        nn.LSTM, nn.LSTMCell               LSTMParams, for `lstm` (with projection_size=proj_size)
        num_layers=2                       (params, params), for `stack(cell, cell)`
        bidirectional=True                 (params, params), for `bidirectional(cell)`
        both                               ((params, params), ...), for `stack(bidirectional(cell), ...)`

    Args:
      weights: a module, or arrays by PyTorch's names; numpy arrays, or tensors as they are. Names that do not start
        with `prefix`, and those of no recurrent layer, are left alone. bfloat16 becomes float32, which holds all its
        values and in which the two biases are added; `unroll(matmul_dtype=jnp.bfloat16)` multiplies in it.
      prefix: what stands before the names, such as "encoder.rnn.".

    Raises:
      ValueError: a weight is missing, or has a shape that fits none of the three.
    """
    if hasattr(weights, "state_dict"):
        weights = weights.state_dict()
    weights = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    if "weight_ih" in weights and "weight_ih_l0" not in weights:  # a cell's, not a layer's
        return _one_direction(weights, "", prefix)
    layers: list[Any] = []
    while not layers or f"weight_ih_l{len(layers)}" in weights:
        layer = f"_l{len(layers)}"
        forward = _one_direction(weights, layer, prefix)
        if "weight_ih_l0_reverse" in weights:
            layers.append((forward, _one_direction(weights, f"{layer}_reverse", prefix)))
        else:
            layers.append(forward)
    return layers[0] if len(layers) == 1 else tuple(layers)


def to_pytorch(
    params: Any, *, bidirectional: bool | None = None, prefix: str = "", tensors: bool | None = None
) -> dict[str, Any]:
    """A state_dict by PyTorch's names, from params laid out as `from_pytorch` returns them.

    `torch_layer.load_state_dict(to_pytorch(params))` fills a layer of the same sizes. Of PyTorch's two biases the
    second is zero, but for b_hn of a GRU, which is its n block.

    Params do not tell activations: the result gives the same numbers only for a cell with those of PyTorch.

    Args:
      params: of one cell, or a tuple of them for a stack.
      bidirectional: whether the params are, or for a stack each entry is, a pair (forward, backward). None: told by
        the input sizes, which a pair of directions shares and layers pass on; where both fit it must be said.
      prefix: put before every name.
      tensors: torch tensors, which need torch, or numpy arrays (False); None: tensors where torch is installed.

    Raises:
      ValueError: the params are of a cell PyTorch does not have (peepholes, gates removed, reset before the product),
        or of layers that do not fit upon each other; or a pair that may be two layers or two directions.
      ImportError: tensors=True without torch.
    """
    if bidirectional is None:
        bidirectional = _is_bidirectional(params)
    single = isinstance(params, Params) or (bidirectional and all(isinstance(p, Params) for p in params))
    weights: dict[str, np.ndarray] = {}
    for k, layer in enumerate((params,) if single else params):
        directions = layer if bidirectional else (layer,)
        if len(directions) != 1 + bidirectional or not all(isinstance(p, Params) for p in directions):
            wanted = "a pair (forward, backward) of them" if bidirectional else "ElmanParams, GRUParams or LSTMParams"
            raise ValueError(f"layer {k} of the params must be {wanted}, got {type(layer).__name__}")
        for p, suffix in zip(directions, ("", "_reverse"), strict=False):
            named = _named(p)
            if k == 0 and not suffix:
                width = named["weight_ih"].shape[1]
            if named["weight_ih"].shape[1] != width:
                raise ValueError(
                    f"layer {k} of the params{' backward' * bool(suffix)} takes {named['weight_ih'].shape[1]} inputs, "
                    f"but {'those of the sequence' if k == 0 else 'the outputs below it'} are {width}; bidirectional="
                    f"{bidirectional} does not fit these params"
                )
            weights |= {f"{prefix}{name}_l{k}{suffix}": array for name, array in named.items()}
        width = sum(p.U.shape[0] for p in directions)
    if tensors is None:
        tensors = importlib.util.find_spec("torch") is not None
    return {name: _tensor(array) for name, array in weights.items()} if tensors else weights


def _is_bidirectional(params: Any) -> bool:
    """Whether params are of layers that run both ways: of a pair, by the number of inputs of each.

    Raises:
      ValueError: a pair that may be either.
    """
    if isinstance(params, Params):
        return False
    if not all(isinstance(p, Params) for p in params):
        return all(not isinstance(layer, Params) for layer in params)
    if len(params) != 2:
        return False
    (first, second), (num_inputs, num_outputs) = params, params[0].W.shape[:1] + params[0].U.shape[:1]
    two_ways = second.W.shape[0] == num_inputs and second.U.shape == first.U.shape
    two_layers = second.W.shape[0] == num_outputs
    if two_ways and two_layers:
        raise ValueError(
            f"these params may be two layers, or two directions of one, since inputs and outputs are both {num_inputs}"
            "; say which: bidirectional=False or bidirectional=True"
        )
    return two_ways


def _tensor(array: np.ndarray) -> Any:
    """A torch tensor of a numpy array, bfloat16 too, which numpy has from JAX and torch of its own."""
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        raise ImportError("tensors=True needs torch: pip install torch; tensors=False gives numpy arrays") from error
    if array.dtype == jnp.bfloat16:
        return torch.from_numpy(np.ascontiguousarray(array).view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(np.array(array, order="C"))


def _one_direction(weights: dict[str, Any], layer: str, prefix: str) -> Params:
    def get(name: str) -> np.ndarray:
        if f"{name}{layer}" not in weights:
            known = ", ".join(prefix + known for known in weights) or "nothing"
            raise ValueError(f"{prefix}{name}{layer} is missing; found {known}")
        return _numpy(weights[f"{name}{layer}"])

    W, U = get("weight_ih").T, get("weight_hh").T
    W_proj = get("weight_hr").T if f"weight_hr{layer}" in weights else None
    H = U.shape[0] if W_proj is None else W_proj.shape[0]
    num_gates, rest = divmod(U.shape[1], H)
    if rest or num_gates not in (1, 3, 4) or (W_proj is not None and num_gates != 4):
        raise ValueError(
            f"{prefix}weight_hh{layer} has shape {U.T.shape}: with hidden size {H} that is neither an RNN ({H} rows), "
            f"a GRU ({3 * H}) nor an LSTM ({4 * H}, the only one with a projection)"
        )
    has_bias = any(f"{name}{layer}" in weights for name in ("bias_ih", "bias_hh"))
    b, b_h = (get("bias_ih"), get("bias_hh")) if has_bias else np.zeros((2, num_gates * H), U.dtype)
    _check_shapes(prefix, layer, W=(W, (W.shape[0], num_gates * H)), b=(b, (num_gates * H,)), b_h=(b_h, b.shape))
    if num_gates == 3:
        b_hn = b_h[2 * H :]
        b = b + np.concatenate([b_h[: 2 * H], np.zeros_like(b_hn)])
        return GRUParams(*map(jnp.asarray, (W, U, b, b_hn)))
    arrays = [jnp.asarray(array) for array in (W, U, b + b_h)]
    if num_gates == 1:
        return ElmanParams(*arrays)
    return LSTMParams(arrays[0], arrays[1], arrays[2], W_proj=None if W_proj is None else jnp.asarray(W_proj))


def _check_shapes(prefix: str, layer: str, **arrays: tuple[np.ndarray, tuple[int, ...]]) -> None:
    names = {"W": "weight_ih", "b": "bias_ih", "b_h": "bias_hh"}
    for symbol, (array, shape) in arrays.items():
        if array.shape != shape:
            raise ValueError(
                f"{prefix}{names[symbol]}{layer} has shape {array.T.shape}, but the hidden size needs {shape[::-1]}"
            )


def _named(p: Params) -> dict[str, np.ndarray]:
    """One direction of one layer by PyTorch's names without their suffix."""
    _check_supported(p)
    W, U, b = (np.array(array) for array in (p.W, p.U, p.b))
    b_h = np.zeros_like(b)
    if isinstance(p, GRUParams):
        b_h[-U.shape[0] :] = p.b_hn
    named = {"weight_ih": W.T.copy(), "weight_hh": U.T.copy(), "bias_ih": b, "bias_hh": b_h}
    if isinstance(p, LSTMParams) and p.W_proj is not None:
        named["weight_hr"] = np.asarray(p.W_proj).T.copy()
    return named


def _check_supported(p: Params) -> None:
    if isinstance(p, GRUParams) and p.b_hn is None:
        raise ValueError("PyTorch's GRU resets after the recurrent product: there is no weight for `gru_reset_before`")
    if isinstance(p, LSTMParams) and (p.peephole is not None or p.R is not None):
        raise ValueError("PyTorch's LSTM has no peepholes and no gate recurrence")
    W_proj = p.W_proj if isinstance(p, LSTMParams) else None
    H = p.U.shape[0] if W_proj is None else W_proj.shape[0]
    num_gates = {ElmanParams: 1, GRUParams: 3, LSTMParams: 4}[type(p)]
    if p.U.shape[1] != num_gates * H:
        raise ValueError(
            f"PyTorch needs all gates: {num_gates} blocks of {H} columns in {type(p).__name__}.U, got {p.U.shape[1]}"
        )


def _numpy(array: Any) -> np.ndarray:
    """A numpy array of what may be a tensor, on any device."""
    for method in ("detach", "cpu"):
        array = getattr(array, method)() if hasattr(array, method) else array
    if str(getattr(array, "dtype", "")).endswith("bfloat16"):  # a tensor's, which numpy does not know, or JAX's
        array = array.float() if hasattr(array, "float") else np.asarray(array, np.float32)
    return np.asarray(array)
