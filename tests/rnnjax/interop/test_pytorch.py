"""Values and gradients of PyTorch's recurrent layers (stored in fixtures/pytorch.npz), and weights in and out."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import LSTMCarry, bidirectional, elman, elman_relu, gru, gru_reset_before, lstm, lstm_1997, stack, unroll
from rnnjax.cells import GRUParams, lstm_vanilla
from rnnjax.interop.pytorch import from_pytorch, to_pytorch

STORED = dict(np.load(Path(__file__).parents[2] / "fixtures" / "pytorch.npz"))
H, P = 5, 2
ONE_WAY = {
    "rnn_tanh": elman(H),
    "rnn_relu": elman_relu(H),
    "gru": gru(H),
    "lstm": lstm(H),
    "lstm_proj": lstm(H, projection_size=P),
    "lstm_2layers": stack(lstm(H), lstm(H)),
}
BOTH_WAYS = ("lstm_bidirectional", "lstm_packed")


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def load(case):
    return {name.removeprefix(f"{case}/"): array for name, array in STORED.items() if name.startswith(f"{case}/")}


def weights_of(arrays):
    return {name: array for name, array in arrays.items() if name.startswith(("weight_", "bias_"))}


def carries(h, c):
    """The states [layers * directions, B, H] of PyTorch as a list of carries."""
    return list(h) if c is None else [LSTMCarry(*state) for state in zip(h, c, strict=True)]


def states(final):
    """Carries as PyTorch's h_n and, for LSTMs, c_n."""
    if not isinstance(final[0], LSTMCarry):
        return {"h_n": jnp.stack(final)}
    return {"h_n": jnp.stack([carry.h for carry in final]), "c_n": jnp.stack([carry.c for carry in final])}


def one_way(case):
    def forward(params, xs, h, c):
        start = carries(h, c)
        cell = ONE_WAY[case]
        final, ys = unroll(cell, params, xs, tuple(start) if len(start) > 1 else start[0])
        return ys, states(list(final) if len(start) > 1 else [final])

    return forward


def both_ways(lengths):
    """Both directions by hand, since PyTorch also starts the backward one at a given state."""

    def forward(params, xs, h, c):
        runs = [
            unroll(lstm(H), p, xs, carry, lengths=lengths, reverse=reverse)
            for p, carry, reverse in zip(params, carries(h, c), (False, True), strict=True)
        ]
        return jnp.concatenate([ys for _, ys in runs], axis=-1), states([final for final, _ in runs])

    return forward


def weight_gradients(dparams, case):
    """By PyTorch's names: a gradient is laid out as what it belongs to. Both biases have that of their sum."""
    gradients = to_pytorch(dparams, bidirectional=case in BOTH_WAYS, tensors=False)
    for name in [name for name in gradients if name.startswith("bias_ih")]:
        second = gradients[name.replace("ih", "hh")]
        shared = 2 * H if case == "gru" else len(second)  # n of a GRU has two biases: b_hn is in the reset
        assert np.all(second[:shared] == 0)
        second[:shared] = gradients[name][:shared]
    return gradients


@pytest.mark.parametrize("case", [*ONE_WAY, *BOTH_WAYS])
def test_values_and_gradients(case):
    arrays = load(case)
    weights, xs, h, c = weights_of(arrays), arrays["xs"], arrays["h_0"], arrays.get("c_0")
    forward = one_way(case) if case in ONE_WAY else both_ways(arrays.get("lengths"))

    def loss(params, xs, h, c):
        ys, final = forward(params, xs, h, c)
        return jnp.sum(ys * arrays["dys"]), (ys, final)

    run = jax.jit(jax.value_and_grad(loss, (0, 1, 2, 3), has_aux=True))
    (_, (ys, final)), (dparams, dxs, dh, dc) = run(from_pytorch(weights), xs, h, c)
    assert ys.dtype == np.float64
    actual = {"ys": ys, **final, "grad/xs": dxs, "grad/h_0": dh}
    actual |= {} if c is None else {"grad/c_0": dc}
    actual |= {f"grad/{name}": gradient for name, gradient in weight_gradients(dparams, case).items()}
    assert set(arrays) - set(actual) <= {*weights, "xs", "h_0", "c_0", "dys", "lengths"}
    for name, value in actual.items():
        np.testing.assert_allclose(value, arrays[name], rtol=0, atol=1e-10, err_msg=name)


def test_params_fit_a_bidirectional_layer_and_stacks_of_them():
    weights = weights_of(load("lstm_bidirectional"))
    xs = load("lstm_bidirectional")["xs"]
    _, ys = jax.eval_shape(bidirectional(lstm(H)).apply, from_pytorch(weights), xs)
    second = {
        name.replace("l0", "l1"): np.resize(array, (4 * H, 2 * H)) if "ih" in name and array.ndim == 2 else array
        for name, array in weights.items()
    }
    params = from_pytorch(weights | second)
    layers = stack(bidirectional(lstm(H)), bidirectional(lstm(H)))
    wanted = jax.eval_shape(lambda: layers.init(jax.random.key(0), xs.shape[-1]))
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, wanted)
    assert jax.eval_shape(layers.apply, params, xs)[1].shape == ys.shape == (7, 3, 2 * H)
    assert set(to_pytorch(params, bidirectional=True)) == set(weights | second)


@pytest.mark.parametrize("case", [*ONE_WAY, "lstm_bidirectional"])
def test_there_and_back_again(case):
    weights = weights_of(load(case))
    params = from_pytorch(weights)
    back = to_pytorch(params, bidirectional=case in BOTH_WAYS, prefix="rnn.", tensors=False)
    assert set(back) == {f"rnn.{name}" for name in weights}
    again = from_pytorch(back, prefix="rnn.")
    assert jax.tree.structure(again) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, again, params)
    for name, array in weights.items():
        assert back[f"rnn.{name}"].shape == array.shape
        if name.startswith("weight"):
            np.testing.assert_array_equal(back[f"rnn.{name}"], array)
        elif name.startswith("bias_hh"):
            zero = 2 * H if case == "gru" else len(array)
            assert np.all(back[f"rnn.{name}"][:zero] == 0)


def test_params_have_the_structure_of_init():
    for case, cell in ONE_WAY.items():
        wanted = jax.eval_shape(lambda cell=cell: cell.init(jax.random.key(0), 4))
        params = from_pytorch(weights_of(load(case)))
        assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, wanted), case


def test_tensors_are_taken_and_other_modules_left_alone():
    class Tensor:  # what a tensor offers: no conversion before detach() and cpu()
        def __init__(self, array):
            self.array = array

        def detach(self):
            return self

        def cpu(self):
            return self.array

    weights = weights_of(load("lstm"))
    mixed = {f"encoder.{name}": Tensor(array) for name, array in weights.items()} | {"decoder.weight": Tensor(None)}
    jax.tree.map(np.testing.assert_array_equal, from_pytorch(mixed, prefix="encoder."), from_pytorch(weights))


def test_a_layer_without_biases_has_zero_biases():
    weights = {name: array for name, array in weights_of(load("gru")).items() if "weight" in name}
    params = from_pytorch(weights)
    assert isinstance(params, GRUParams)
    assert (params.b.shape, params.b_hn.shape) == ((3 * H,), (H,))
    assert not params.b.any()
    assert not params.b_hn.any()


def without(case, *names):
    return {name: array for name, array in weights_of(load(case)).items() if name not in names}


def changed(case, **arrays):
    return weights_of(load(case)) | arrays


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({}, "rnn.weight_ih_l0 is missing; found nothing"),
        (without("lstm", "weight_hh_l0"), "rnn.weight_hh_l0 is missing; found rnn.weight_ih_l0, rnn.bias_ih_l0"),
        (without("gru", "bias_hh_l0"), "rnn.bias_hh_l0 is missing"),
        (without("lstm_bidirectional", "weight_hh_l0_reverse"), "rnn.weight_hh_l0_reverse is missing"),
        (without("lstm_2layers", "weight_hh_l1"), "rnn.weight_hh_l1 is missing"),
        (
            changed("lstm", weight_hh_l0=np.zeros((10, 5))),
            r"rnn.weight_hh_l0 has shape \(10, 5\): with hidden size 5 that is neither an RNN \(5 rows\), a GRU \(15\)",
        ),
        (changed("gru", weight_hr_l0=np.zeros((5, 5))), "nor an LSTM .20, the only one with a projection"),
        (
            changed("lstm", weight_ih_l0=np.zeros((15, 4))),
            r"rnn.weight_ih_l0 has shape \(15, 4\), but the hidden size needs \(20, 4\)",
        ),
        (
            changed("lstm", bias_hh_l0=np.zeros(5)),
            r"rnn.bias_hh_l0 has shape \(5,\), .* needs \(20,\)",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(weights, message):
    with pytest.raises(ValueError, match=message):
        from_pytorch({f"rnn.{name}": array for name, array in weights.items()}, prefix="rnn.")


def init(cell):
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape), jax.eval_shape(lambda: cell.init(jax.random.key(0), 4)))


@pytest.mark.parametrize(
    ("params", "options", "message"),
    [
        (init(gru_reset_before(H)), {}, "resets after the recurrent product"),
        (init(gru(H, reset_gate=False)), {}, r"3 blocks of 5 columns in GRUParams.U, got 10"),
        (init(lstm_1997(H)), {}, r"PyTorch needs all gates: 4 blocks of 5 columns in LSTMParams.U, got 15"),
        (init(lstm_vanilla(H)), {}, "no peepholes and no gate recurrence"),
        (
            init(stack(lstm(H), stack(lstm(H)))),
            {},
            "layer 1 of the params must be ElmanParams, GRUParams",
        ),
        ((init(lstm(H)),) * 3, {"bidirectional": True}, r"layer 0 of the params must be a pair"),
    ],
)
def test_cells_pytorch_does_not_have_are_refused(params, options, message):
    with pytest.raises(ValueError, match=message):
        to_pytorch(params, **options)


def test_a_pair_is_never_taken_for_what_it_is_not():
    both = from_pytorch(weights_of(load("lstm_bidirectional")))  # 4 inputs, 5 units
    two = from_pytorch(weights_of(load("lstm_2layers")))
    for params, both_ways, last in ((both, True, "bias_hh_l0_reverse"), (two, False, "bias_hh_l1")):
        given = to_pytorch(params, tensors=False)
        assert list(given)[-1] == last
        assert list(given) == list(to_pytorch(params, bidirectional=both_ways, tensors=False))
        with pytest.raises(ValueError, match=f"bidirectional={not both_ways} does not fit these params"):
            to_pytorch(params, bidirectional=not both_ways, tensors=False)
    square = bidirectional_of(H)
    with pytest.raises(ValueError, match="may be two layers, or two directions of one, since inputs and outputs are"):
        to_pytorch(square, tensors=False)
    assert "weight_ih_l0_reverse" in to_pytorch(square, bidirectional=True, tensors=False)
    assert "weight_ih_l1" in to_pytorch(square, bidirectional=False, tensors=False)
    stacked = (both, tuple(p._replace(W=np.zeros((2 * H, 4 * H))) for p in both))
    assert list(to_pytorch(stacked, tensors=False))[-1] == "bias_hh_l1_reverse"


def bidirectional_of(input_size):
    """Params of both directions of an LSTM with that many inputs."""
    return (init(lstm(H))._replace(W=np.zeros((input_size, 4 * H))),) * 2


@pytest.mark.parametrize("case", ["rnn_tanh", "gru", "lstm"])
def test_cells_and_modules_are_taken(case):
    weights = weights_of(load(case))

    class Module:
        def state_dict(self):
            return {f"cell.{name.removesuffix('_l0')}": array for name, array in weights.items()}

    params = from_pytorch(Module(), prefix="cell.")
    jax.tree.map(np.testing.assert_array_equal, params, from_pytorch(weights))
    with pytest.raises(ValueError, match=r"cell\.weight_hh is missing; found cell\.weight_ih"):
        from_pytorch({"cell.weight_ih": weights["weight_ih_l0"]}, prefix="cell.")


def test_bfloat16_is_taken_whole():
    class Tensor:  # as torch's: numpy cannot read it before float()
        dtype = "torch.bfloat16"

        def __init__(self, array):
            self.array = array

        def float(self):
            return np.asarray(self.array, np.float32)

        def __array__(self, *_):
            raise TypeError("Got unsupported ScalarType BFloat16")

    rounded = {name: jnp.asarray(array, jnp.bfloat16) for name, array in weights_of(load("gru")).items()}
    wanted = from_pytorch({name: np.asarray(array, np.float32) for name, array in rounded.items()})
    for kind in (Tensor, np.asarray):
        params = from_pytorch({name: kind(array) for name, array in rounded.items()})
        assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype(np.float32)}
        jax.tree.map(np.testing.assert_array_equal, params, wanted)


def test_without_torch_there_are_arrays_and_tensors_are_refused(monkeypatch):
    import importlib

    def find_spec(name):
        assert name == "torch"

    def import_module(name):
        raise ImportError(name)

    params = from_pytorch(weights_of(load("gru")))
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", find_spec)
        assert {type(array) for array in to_pytorch(params).values()} == {np.ndarray}
        patch.setattr(importlib, "import_module", import_module)
        with pytest.raises(ImportError, match="tensors=True needs torch"):
            to_pytorch(params, tensors=True)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("both", [False, True])
def test_a_layer_of_torch_is_filled_and_read(dtype, both):
    torch = pytest.importorskip("torch")
    layer = torch.nn.LSTM(4, H, bidirectional=both, dtype=getattr(torch, dtype))
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), from_pytorch(layer))
    again = torch.nn.LSTM(4, H, bidirectional=both, dtype=getattr(torch, dtype))
    again.load_state_dict(to_pytorch(params))
    for name, tensor in layer.state_dict().items():
        given = again.state_dict()[name]
        assert given.dtype == tensor.dtype
        if name.startswith("weight"):
            assert torch.equal(given, tensor)
    for kind in (torch.nn.LSTMCell, torch.nn.GRUCell, torch.nn.RNNCell):
        cell = kind(4, H)
        assert from_pytorch(cell).W.shape[0] == 4
