"""Cells against those of torchrecurrent, flax, Haiku and Equinox, by stored weights and outputs (fixtures/peers.npz).

Keras is in test_keras.py, PyTorch in test_pytorch.py. Not compared, though they share a name: the MCLSTM of
torchrecurrent is not the mass-conserving one, and its RHNCell cannot be made (version 0.2.5).
"""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from rnnjax import cells, unroll
from rnnjax.cell import Cell
from rnnjax.cells.bistable import BRParams, NBRParams
from rnnjax.cells.light import FastGRNNParams, FastRNNParams, LightRUParams
from rnnjax.cells.lstm_connections import ResidualLSTMParams, WMCLSTMParams
from rnnjax.cells.multiplicative import MultiplicativeLSTMParams
from rnnjax.cells.nas import NASParams
from rnnjax.cells.strongly_typed import TRNNParams, TypedParams
from rnnjax.initializers import GateParams

STORED = np.load(Path(__file__).parents[1] / "fixtures" / "peers.npz")
H = 4
SHORT = {"weight_ih": "W", "weight_hh": "U", "bias_ih": "b_x", "bias_hh": "b_h"}


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def stored(case: str) -> dict[str, np.ndarray]:
    return {key.removeprefix(f"{case}/"): STORED[key].astype(float) for key in STORED if key.startswith(f"{case}/")}


def weights(case: str) -> SimpleNamespace:
    """The weights of a case, matrices laid out as ours: W [I, G*H], U [H, G*H]. b is the sum of two like biases."""
    transposed = case.startswith(("torchrecurrent", "equinox"))
    w = {SHORT.get(name, name): array.T if transposed else array for name, array in stored(case).items()}
    if "b_h" in w and w["b_x"].shape == w["b_h"].shape:
        w["b"] = w["b_x"] + w["b_h"]
    return SimpleNamespace(**w)


@cache
def program(cell: Cell) -> Callable:
    return jax.jit(partial(unroll, cell), compiler_options={"xla_backend_optimization_level": 0})


def outputs(cell: Cell, params: Any, xs: np.ndarray) -> np.ndarray:
    return np.asarray(program(cell)(params, xs)[1])


def join(*blocks: np.ndarray) -> np.ndarray:
    return np.concatenate(blocks, axis=-1)


def pick(array: np.ndarray, theirs, ours) -> np.ndarray:
    """Blocks of the last axis, packed in their order, in ours: pick(U, "cif", "fi")."""
    blocks = dict(zip(theirs, np.split(array, len(theirs), axis=-1), strict=True))
    return join(*(blocks[name] for name in ours))


def scaled(array: np.ndarray, *factors: float) -> np.ndarray:
    """The blocks of the last axis, each times its factor."""
    blocks = np.split(array, len(factors), axis=-1)
    return join(*(factor * block for factor, block in zip(factors, blocks, strict=True)))


# ------------------------------------------------------------------ the weights of torchrecurrent


def packed(w):
    return GateParams(w.W, w.U, w.b)


def packed_as(theirs, ours):
    return lambda w: GateParams(*(pick(array, theirs, ours) for array in (w.W, w.U, w.b)))


def antisymmetric(w):
    """Their matrix is V - V' - γI of a square weight V; ours keeps what is above the diagonal."""
    b = w.b if hasattr(w, "b") else join(pick(w.b_x, "zh", "z"), pick(w.b_x, "zh", "h") + w.b_h)
    return cells.AntisymmetricParams(w.W, (w.U - w.U.T)[np.triu_indices(H, 1)], b)


def bistable(w):
    b = pick(w.b_x, "acn", "ac") + w.b_h
    return BRParams(w.W, w.U, b) if w.U.ndim == 1 else NBRParams(w.W, w.U, b)


def cfn(w):
    return cells.AdditiveParams(w.W, w.U, pick(w.b_x, "θηx", "θη") + w.b_h)


def fastgrnn(w):
    return FastGRNNParams(w.W, w.U, pick(w.b, "zh", "z"), pick(w.b, "zh", "h"), w.zeta, w.nu)


def intersection(w):
    W, U, b = packed_as(("y", "h", "gy", "gh"), ("gy", "gh", "y", "h"))(w)
    return cells.IntersectionParams(W, U, b)


def lem(w):
    """Their first time step is that of y, ours that of z."""
    b = w.b_x + join(w.b_h, w.bias_ch)
    return cells.LEMParams(pick(w.W, "21zy", "12zy"), pick(w.U, "21z", "12z"), w.weight_ch, pick(b, "21zy", "12zy"))


def lightru(w):
    return LightRUParams(w.W, w.U, pick(w.b_x, "nf", "f") + w.b_h)


def mgu(w):
    U_f, U_n = (pick(w.U, "fn", gate) for gate in "fn")
    return cells.MGUParams(w.W, U_n, pick(w.b, "fn", "n"), U_f, pick(w.b, "fn", "f"))


def minimal_rnn(w):
    return cells.MinimalRNNParams(W_z=w.W, U_z=w.weight_mm, U_h=w.U, b_z=w.b_x, b_u=w.b_h)


def multiplicative_lstm(w):
    W_m, W = pick(w.W, "mifgo", "m"), pick(w.W, "mifgo", "ifgo")
    return MultiplicativeLSTMParams(W, w.weight_mh, pick(w.b_x, "mifgo", "ifgo") + w.bias_mh, W_m, w.U)


def mut1(w):
    b_r = pick(w.b_x, "zrh", "r") + pick(w.b_h, "rh", "r")
    b = join(pick(w.b_x, "zrh", "z"), b_r, pick(w.b_h, "rh", "h"))
    U, U_h = (pick(w.U, "rh", gate) for gate in "rh")
    return cells.MUTParams(pick(w.W, "zrh", "zr"), U, U_h, b, P=pick(w.W, "zrh", "h"))


def mut2(w):
    W, P = pick(w.W, "zrh", "zh"), pick(w.W, "zrh", "r")
    return cells.MUTParams(W, pick(w.U, "zrh", "zr"), pick(w.U, "zrh", "h"), w.b, P=P)


def mut3(w):
    U_z, U, U_h = (pick(w.U, "zrh", gate) for gate in "zrh")
    return cells.MUTParams(w.W, U, U_h, w.b, U_z=U_z)


def original_lstm(w):
    return cells.LSTMParams(w.W, w.U, w.b)


def original_lstm_doubled(w):
    """4σ(z) - 2 = 2 tanh(z/2), and the memory, twice as large, is shown through 2σ(c) - 1 = tanh(c/2)."""
    return cells.LSTMParams(*(scaled(array, 1, 2, 1) for array in (w.W, w.U, w.b)))


def peephole_lstm(w):
    return cells.LSTMParams(w.W, w.U, w.b, peephole=dict(zip("ifo", np.split(w.weight_ph, 3), strict=True)))


def ran(w):
    return cells.AdditiveParams(pick(w.W, "cif", "fic"), pick(w.U, "if", "fi"), pick(w.b, "if", "fi"))


def residual_lstm(w):
    return ResidualLSTMParams(w.W, w.U, w.b, w.weight_ph.reshape(3, H), w.weight_proj, w.weight_res)


def scrn(w):
    """Their matrix U has a second block, on top of the hidden units."""
    A, B = pick(w.W, "sh", "h"), pick(w.W, "sh", "s")
    return cells.SCRNParams(A, B, P=pick(w.weight_ch, "hy", "h"), R=pick(w.U, "hy", "h"))


def sgu(w, slope=1.0):
    b = join(pick(w.b_x, "gz", "z") + pick(w.b_h, "gz", "z"), pick(w.b_x, "gz", "g"))
    W, b = (scaled(array, slope, 1) for array in (pick(w.W, "gz", "zg"), b))
    U_g, U_z = (pick(w.U, "gz", gate) for gate in "gz")
    return cells.SGUParams(W, b, slope * U_z, U_g, getattr(w, "weight_ho", None))


def star(w):
    return cells.AdditiveParams(
        pick(w.W, "zk", "kz"), w.U, join(pick(w.b_x, "zk", "k") + w.b_h, pick(w.b_x, "zk", "z"))
    )


def tau_gru(w):
    w = SimpleNamespace(**{name.removeprefix("cells.0."): array for name, array in vars(w).items()})
    U, U_delayed = pick(w.weight_hh, "uzga", "uga"), pick(w.weight_hh, "uzga", "z")
    return cells.TauGRUParams(w.weight_ih, U, U_delayed, w.bias_ih + w.bias_hh)


def t_rnn(w):
    return TRNNParams(w.W, pick(w.b_x, "zf", "f"))


def wmclstm(w):
    U_c, U_o = pick(w.weight_mh, "ifo", "if"), pick(w.weight_mh, "ifo", "o")
    return WMCLSTMParams(w.W, w.U, w.b, U_c, U_o)


# ------------------------------------------------------------------ the weights of flax, Haiku and Equinox


def flax_gates(w, symbol, kind, gates):
    return join(*(vars(w)[f"{symbol}{gate}.{kind}"] for gate in gates))


def flax_gru(w):
    W, b = (flax_gates(w, "i", kind, "rzn") for kind in ("kernel", "bias"))
    return cells.GRUParams(W, flax_gates(w, "h", "kernel", "rzn"), b, vars(w)["hn.bias"])


def flax_lstm(w):
    W, U = (flax_gates(w, symbol, "kernel", "ifgo") for symbol in "ih")
    return cells.LSTMParams(W, U, flax_gates(w, "h", "bias", "ifgo"))


def flax_mgu(w):
    """With the sign of the gate turned, so that 1 writes."""
    W, b = (scaled(flax_gates(w, "i", kind, "fn"), -1, 1) for kind in ("kernel", "bias"))
    b_f, b_n = np.split(b, 2)
    return cells.MGUParams(W, vars(w)["hn.kernel"], b_n, -vars(w)["hf.kernel"], b_f)


def haiku_gru(w):
    """Their update gate writes where it is 1."""
    W, U, b = (scaled(pick(vars(w)[f"gru:{name}"], "zrn", "rzn"), 1, -1, 1) for name in ("w_i", "w_h", "b"))
    return cells.GRUParams(W, U, b)


def haiku_lstm(w):
    """One matrix for input and state; 1 is added to the forget gate outside of the bias."""
    matrix, b = (pick(vars(w)[f"lstm/linear:{name}"], "igfo", "ifgo") for name in "wb")
    return cells.LSTMParams(matrix[:-H], matrix[-H:], b + np.repeat([0, 1, 0, 0], H))


def haiku_rnn(w):
    W, b_x, U, b_h = (vars(w)[f"vanilla_rnn/linear{name}"] for name in (":w", ":b", "_1:w", "_1:b"))
    return cells.ElmanParams(W, U, b_x + b_h)


# ------------------------------------------------------------------ where they agree

AGREE: dict[str, tuple[Cell, Callable]] = {
    "torchrecurrent/AntisymmetricRNNCell": (cells.antisymmetric(H, epsilon=0.5, gamma=0.25), antisymmetric),
    "torchrecurrent/FastGRNNCell": (cells.fastgrnn(H), fastgrnn),
    "torchrecurrent/FastRNNCell": (cells.fastrnn(H), lambda w: FastRNNParams(w.W, w.U, w.b, w.alpha, w.beta)),
    "torchrecurrent/GatedAntisymmetricRNNCell": (cells.antisymmetric_gated(H, epsilon=0.5, gamma=0.25), antisymmetric),
    "torchrecurrent/IndRNNCell": (cells.indrnn(H), lambda w: cells.IndRNNParams(w.W, w.vector_u, w.b)),
    "torchrecurrent/IntersectionRNNCell": (cells.intersection_rnn(H), intersection),
    "torchrecurrent/JANETCell": (cells.janet(H), packed),
    "torchrecurrent/LiGRUCell": (cells.ligru(H), packed),
    "torchrecurrent/MGUCell": (cells.mgu(H), mgu),
    "torchrecurrent/MUT2Cell": (cells.mut2(H), mut2),
    "torchrecurrent/MUT3Cell": (cells.mut3(H), mut3),
    "torchrecurrent/MinimalRNNCell": (cells.minimal_rnn(H), minimal_rnn),
    "torchrecurrent/PeepholeLSTMCell": (cells.lstm_vanilla(H), peephole_lstm),
    "torchrecurrent/RANCell": (cells.ran(H), ran),
    "torchrecurrent/ResLSTMCell": (cells.residual_lstm(H), residual_lstm),
    "torchrecurrent/STARCell": (cells.star(H), star),
    "torchrecurrent/TGRUCell": (cells.t_gru(H), lambda w: TypedParams(w.W, w.U, w.b)),
    "torchrecurrent/TLSTMCell": (cells.t_lstm(H), lambda w: TypedParams(w.W, w.U, w.b)),
    "torchrecurrent/UGRNNCell": (cells.ugrnn(H), packed_as("cg", "gc")),
    "torchrecurrent/UnICORNNCell": (
        cells.unicornn(H, dt=0.25, alpha=2.0),
        lambda w: cells.UnICORNNParams(w.W, w.U, w.b, w.weight_ch),
    ),
    "torchrecurrent/coRNNCell": (
        cells.cornn(H, dt=0.25, gamma=1.5, epsilon=2.0),
        lambda w: cells.CoRNNParams(w.W, w.U, w.weight_ch, w.b + w.bias_ch),
    ),
    "torchrecurrent/tauGRU": (cells.tau_gru(H, delay=2), tau_gru),
    "flax/SimpleCell": (
        cells.elman(H),
        lambda w: cells.ElmanParams(*(vars(w)[name] for name in ("i.kernel", "h.kernel", "i.bias"))),
    ),
    "flax/GRUCell": (cells.gru(H), flax_gru),
    "flax/LSTMCell": (cells.lstm(H), flax_lstm),
    "haiku/GRU": (cells.gru_reset_before(H), haiku_gru),
    "haiku/LSTM": (cells.lstm(H), haiku_lstm),
    "haiku/VanillaRNN": (cells.elman_relu(H), haiku_rnn),
    "equinox/GRUCell": (cells.gru(H), lambda w: cells.GRUParams(w.W, w.U, w.bias, w.bias_n)),
    "equinox/LSTMCell": (cells.lstm(H), lambda w: cells.LSTMParams(w.W, w.U, w.bias)),
}

# ------------------------------------------------------------------ where they do not


class Disagreement(NamedTuple):
    """What another library computes differently; ours is as in the paper.

    With what is said in `agrees_with` the two agree: other weights here (`mapping`), or zeros there (restricted).
    """

    cell: Cell
    params: Callable
    reason: str
    agrees_with: str
    mapping: Callable | None = None  # where not `params`
    restricted: bool = True


def more(cell: Cell, params: Callable, bias: str) -> Disagreement:
    return Disagreement(cell, params, f"there is a bias that the paper has not: {bias}", "that bias at zero")


SLOPE = "the hard sigmoid has the slope 1/6, in the paper 1/5; and there is a bias within tanh(U_g (x_g ⊙ h))"
SLOPE_TURNED = "W_z, U_z and b_z times 5/6, that bias at zero"

DISAGREE: dict[str, Disagreement] = {
    "torchrecurrent/ATRCell": more(cells.atr(H), lambda w: cells.AdditiveParams(w.W, w.U), "in p = W x and in q = U h"),
    "torchrecurrent/BRCell": more(cells.br(H), bistable, "in the candidate (the authors' program has those of a, c)"),
    "torchrecurrent/CFNCell": more(cells.cfn(H), cfn, "in tanh(W x), so that a state no longer decays without input"),
    "torchrecurrent/LightRUCell": more(cells.lightru(H), lightru, "in the candidate tanh(W x)"),
    "torchrecurrent/MUT1Cell": more(cells.mut1(H), mut1, "in the inner tanh(x), beside a matrix at any input size"),
    "torchrecurrent/MultiplicativeLSTMCell": more(
        cells.multiplicative_lstm(H), multiplicative_lstm, "in both factors of m = (W_m x) ⊙ (U_m h)"
    ),
    "torchrecurrent/NBRCell": more(cells.nbr(H), bistable, "in the candidate (the authors' program has those of a, c)"),
    "torchrecurrent/SGRNCell": more(
        cells.sgrn(H),
        lambda w: cells.AdditiveParams(w.W, w.U, w.b),
        "in W x where it is the candidate, not in the gate alone as here",
    ),
    "torchrecurrent/TRNNCell": more(cells.t_rnn(H), t_rnn, "in z = W x"),
    "torchrecurrent/WMCLSTMCell": more(cells.wmclstm(H), wmclstm, "within tanh(U_c c)"),
    "torchrecurrent/DSGUCell": Disagreement(cells.dsgu(H), sgu, SLOPE, SLOPE_TURNED, partial(sgu, slope=5 / 6)),
    "torchrecurrent/SGUCell": Disagreement(cells.sgu(H), sgu, SLOPE, SLOPE_TURNED, partial(sgu, slope=5 / 6)),
    "torchrecurrent/LEMCell": Disagreement(
        cells.lem(H, dt=0.5),
        lem,
        "y sees z of the step before, in the paper (equation 3) the z just computed",
        "no matrix from z to y",
    ),
    "torchrecurrent/NASCell": Disagreement(
        cells.nas(H),
        lambda w: NASParams(w.W, w.U),
        "the relu of branch 3 sees the sum W x + U h, in the authors' program the product; and there are biases",
        "branch 3 and the biases at zero",
    ),
    "torchrecurrent/OriginalLSTMCell": Disagreement(
        cells.lstm_1997(H),
        original_lstm,
        "both squashing functions are tanh; in the paper g = 4σ - 2 and h = 2σ - 1",
        "the weights of the block input twice as large here",
        original_lstm_doubled,
        restricted=False,
    ),
    "flax/MGUCell": Disagreement(
        cells.mgu(H),
        flax_mgu,
        "one gate keeps and lets the past in, in the paper it writes and lets the past in; it meets U h after the "
        "product, in the paper h before it",
        "the candidate blind to the past, the sign of the gate turned",
    ),
}


def inputs(case: str) -> np.ndarray:
    return STORED["xs_square" if "Intersection" in case else "xs"].astype(float)


def difference(case: str, cell: Cell, params: Any) -> float:
    return np.max(np.abs(outputs(cell, params, inputs(case)) - STORED[f"{case}/ys"]))


@pytest.mark.parametrize("case", AGREE)
def test_they_agree(case):
    cell, params = AGREE[case]
    assert difference(case, cell, params(weights(case))) < 1e-12


@pytest.mark.parametrize("case", DISAGREE)
def test_they_disagree_by_what_is_said_and_nothing_else(case):
    entry = DISAGREE[case]
    assert difference(case, entry.cell, entry.params(weights(case))) > 1e-2, entry.reason
    same = f"{case} restricted" if entry.restricted else case
    mapping = entry.mapping or entry.params
    assert difference(same, entry.cell, mapping(weights(same))) < 1e-12, entry.agrees_with


def test_scrn_of_torchrecurrent_feeds_back_its_output():
    """There h is one layer more, tanh(U₂ σ(P s + A x + U₁ h) + P₂ s), and there are biases; the contexts agree."""
    case = "torchrecurrent/SCRNCell restricted"  # no bias in the contexts
    ys = outputs(cells.scrn(H, context_size=H, alpha=0.75), scrn(weights(case)), inputs(case))
    np.testing.assert_allclose(ys[..., H:], STORED[f"{case}/contexts"], rtol=0, atol=1e-12)
    assert np.max(np.abs(ys[..., :H] - STORED[f"{case}/ys"])) > 1e-2


def test_every_stored_case_is_compared():
    cases = {"/".join(key.split("/")[:2]).removesuffix(" restricted") for key in STORED if key.count("/") > 1}
    ours = {case for case in cases if not case.startswith("keras/")}
    assert ours == {*AGREE, *DISAGREE, "torchrecurrent/SCRNCell"}
