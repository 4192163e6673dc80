"""The NumPy references against PyTorch, and against one another where PyTorch lacks the cell."""

from pathlib import Path

import numpy as np
import pytest

from tests import reference

PYTORCH = np.load(Path(__file__).parents[1] / "fixtures" / "pytorch.npz")
SEQ_LEN, BATCH_SIZE, INPUT_SIZE, HIDDEN_SIZE = 7, 3, 4, 5


def load(case):
    """The stored arrays of one case, by name."""
    prefix = f"{case}/"
    return {key.removeprefix(prefix): PYTORCH[key] for key in PYTORCH if key.startswith(prefix)}


def weights(torch, suffix="l0"):
    """PyTorch's weights in our layout: transposed, the two biases added up."""
    renamed = {
        "W": torch[f"weight_ih_{suffix}"].T,
        "U": torch[f"weight_hh_{suffix}"].T,
        "b": torch[f"bias_ih_{suffix}"] + torch[f"bias_hh_{suffix}"],
    }
    if f"weight_hr_{suffix}" in torch:
        renamed["W_proj"] = torch[f"weight_hr_{suffix}"].T
    return renamed


def assert_close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


def make_weights(num_gates, seed=0, **shapes):
    """Random W, U, b for `num_gates` gates, and further arrays by their shapes."""
    rng = np.random.default_rng(seed)
    columns = num_gates * HIDDEN_SIZE
    shapes = {"W": (INPUT_SIZE, columns), "U": (HIDDEN_SIZE, columns), "b": columns} | shapes
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


def make_xs(*batch_shape, seed=1):
    return np.random.default_rng(seed).normal(size=(SEQ_LEN, *batch_shape, INPUT_SIZE))


def gates_only(p, keep):
    """The weights of the gates numbered in `keep`, in that order."""
    columns = np.concatenate([np.arange(HIDDEN_SIZE) + k * HIDDEN_SIZE for k in keep])
    return {name: p[name][..., columns] for name in ("W", "U", "b")}


def saturated(p, gate):
    """The same weights with gate number `gate` open at every step: σ(1000) is 1."""
    b = p["b"].copy()
    b[gate * HIDDEN_SIZE : (gate + 1) * HIDDEN_SIZE] = 1000.0
    return {**p, "b": b}


# ------------------------------------------------------------------ against PyTorch


@pytest.mark.parametrize(("case", "activation"), [("rnn_tanh", np.tanh), ("rnn_relu", lambda z: np.maximum(z, 0.0))])
def test_elman_is_torch_rnn(case, activation):
    torch = load(case)
    ys, h = reference.elman(torch["xs"], **weights(torch), h0=torch["h_0"][0], activation=activation)
    assert_close(ys, torch["ys"])
    assert_close(h, torch["h_n"][0])


def test_gru_is_torch_gru():
    torch = load("gru")
    b_r_and_z, b_hn = np.split(torch["bias_hh_l0"], [2 * HIDDEN_SIZE])
    W, U = torch["weight_ih_l0"].T, torch["weight_hh_l0"].T
    b = torch["bias_ih_l0"] + np.concatenate([b_r_and_z, np.zeros(HIDDEN_SIZE)])
    ys, h = reference.gru(torch["xs"], W, U, b, b_hn, torch["h_0"][0])
    assert_close(ys, torch["ys"])
    assert_close(h, torch["h_n"][0])


@pytest.mark.parametrize("case", ["lstm", "lstm_proj"])
def test_lstm_is_torch_lstm(case):
    torch = load(case)
    ys, (h, c) = reference.lstm(torch["xs"], **weights(torch), h0=torch["h_0"][0], c0=torch["c_0"][0])
    assert_close(ys, torch["ys"])
    assert_close(h, torch["h_n"][0])
    assert_close(c, torch["c_n"][0])


def test_lstm_stacked_is_torch_two_layers():
    torch = load("lstm_2layers")
    ys = torch["xs"]
    for layer in range(2):
        h0, c0 = torch["h_0"][layer], torch["c_0"][layer]
        ys, (h, c) = reference.lstm(ys, **weights(torch, f"l{layer}"), h0=h0, c0=c0)
        assert_close(h, torch["h_n"][layer])
        assert_close(c, torch["c_n"][layer])
    assert_close(ys, torch["ys"])


@pytest.mark.parametrize("case", ["lstm_bidirectional", "lstm_packed"])
def test_lstm_both_ways_is_torch_bidirectional(case):
    """One sequence at a time, cut to its length, so the unbatched form is tested too."""
    torch = load(case)
    lengths = torch.get("lengths", np.full(BATCH_SIZE, SEQ_LEN))
    for k, length in enumerate(lengths):
        both = []
        for direction, (suffix, order) in enumerate([("l0", 1), ("l0_reverse", -1)]):
            ys, (h, c) = reference.lstm(
                torch["xs"][:length, k][::order],
                **weights(torch, suffix),
                h0=torch["h_0"][direction, k],
                c0=torch["c_0"][direction, k],
            )
            both.append(ys[::order])
            assert_close(h, torch["h_n"][direction, k])
            assert_close(c, torch["c_n"][direction, k])
        assert_close(np.concatenate(both, axis=-1), torch["ys"][:length, k])
        assert_close(torch["ys"][length:, k], 0.0)


# ------------------------------------------------------------------ the other variants


@pytest.mark.parametrize("peepholes", [False, True])
@pytest.mark.parametrize(
    ("option", "gate", "keep"),
    [("input_gate", 0, (1, 2, 3)), ("forget_gate", 1, (0, 2, 3)), ("output_gate", 3, (0, 1, 2))],
)
def test_lstm_without_a_gate_is_that_gate_at_one(option, gate, keep, peepholes):
    whole = make_weights(4)
    w = np.random.default_rng(2).normal(size=(3, HIDDEN_SIZE))
    w = dict(zip(("w_i", "w_f", "w_o"), w, strict=True)) if peepholes else {}
    xs = make_xs(BATCH_SIZE)
    expected, (_, c_expected) = reference.lstm(xs, **saturated(whole, gate), **w)
    ys, (_, c) = reference.lstm(xs, **gates_only(whole, keep), **w, **{option: False})
    assert_close(ys, expected)
    assert_close(c, c_expected)


def test_lstm_coupled_is_an_input_gate_of_opposite_sign():
    """1 − σ(z) = σ(−z); the paper's f = 1 − i is the same cell seen from the other side."""
    coupled = make_weights(3)  # f, g, o
    w_f = np.random.default_rng(2).normal(size=HIDDEN_SIZE)
    signs = np.repeat([-1.0, 1.0, 1.0, 1.0], HIDDEN_SIZE)
    whole = {k: v * signs for k, v in gates_only(coupled, (0, 0, 1, 2)).items()}
    xs = make_xs(BATCH_SIZE)
    ys, _ = reference.lstm(xs, **coupled, w_f=w_f, coupled=True)
    expected, _ = reference.lstm(xs, **whole, w_i=-w_f, w_f=w_f)
    assert_close(ys, expected)


def test_lstm_peepholes_see_the_old_state_at_i_and_f_and_the_new_one_at_o():
    """One unit, all other weights zero: the numbers can be followed by hand."""
    W, U, b = np.zeros((1, 4)), np.zeros((1, 4)), np.array([0.0, 0.0, 0.5, 0.0])
    w = {"w_i": np.array([0.7]), "w_f": np.array([-0.4]), "w_o": np.array([1.3])}
    ys, (_, c) = reference.lstm(np.zeros((1, 1)), W, U, b, c0=2.0, **w)
    i, f = 1 / (1 + np.exp(-0.7 * 2.0)), 1 / (1 + np.exp(0.4 * 2.0))
    c_new = f * 2.0 + i * np.tanh(0.5)
    assert_close(c, [c_new])
    assert_close(ys, [[np.tanh(c_new) / (1 + np.exp(-1.3 * c_new))]])


@pytest.mark.parametrize(
    ("absent", "gates"),
    [(None, "ifo"), ("input_gate", "fo"), ("forget_gate", "io"), ("output_gate", "if")],
)
def test_lstm_gate_recurrence_block_by_block(absent, gates):
    """Every block of R alone, written as sums over single units, with peepholes."""
    size = len(gates) * HIDDEN_SIZE
    packing = "".join(name for name in "ifgo" if name in gates + "g")
    p = make_weights(len(packing), R=(size, size))
    w = dict(zip("ifo", np.random.default_rng(2).normal(size=(3, HIDDEN_SIZE)), strict=True))
    xs = make_xs()

    blocks = {name: slice(k * HIDDEN_SIZE, None) for k, name in enumerate(packing)}
    R = {
        (a, b): p["R"][j * HIDDEN_SIZE :, k * HIDDEN_SIZE :][:HIDDEN_SIZE, :HIDDEN_SIZE]
        for j, a in enumerate(gates)
        for k, b in enumerate(gates)
    }
    h, c = np.zeros(HIDDEN_SIZE), np.zeros(HIDDEN_SIZE)
    before = {name: np.zeros(HIDDEN_SIZE) for name in gates}
    expected = []
    for x in xs:
        z = {name: (x @ p["W"] + h @ p["U"] + p["b"])[block][:HIDDEN_SIZE].copy() for name, block in blocks.items()}
        for (a, b), block in R.items():
            for unit in range(HIDDEN_SIZE):
                z[b][unit] += sum(before[a][u] * block[u, unit] for u in range(HIDDEN_SIZE))
        f = 1 / (1 + np.exp(-z["f"] - w["f"] * c)) if "f" in gates else 1.0
        i = 1 / (1 + np.exp(-z["i"] - w["i"] * c)) if "i" in gates else 1.0
        c = f * c + i * np.tanh(z["g"])
        o = 1 / (1 + np.exp(-z["o"] - w["o"] * c)) if "o" in gates else 1.0
        h = o * np.tanh(c)
        before = {name: {"i": i, "f": f, "o": o}[name] for name in gates}
        expected.append(h)

    options = {absent: False} if absent else {}
    w = {f"w_{name}": vector for name, vector in w.items()}
    ys, (_, _, s) = reference.lstm(xs, **p, **w, **options)
    assert_close(ys, expected)
    assert_close(s, np.concatenate([before[name] for name in gates]))


def test_lstm_continues_from_its_final_state():
    p = make_weights(3, R=(2 * HIDDEN_SIZE, 2 * HIDDEN_SIZE))
    xs = make_xs(BATCH_SIZE)
    expected, final = reference.lstm(xs, **p, coupled=True)
    _, (h, c, s) = reference.lstm(xs[:3], **p, coupled=True)
    ys, again = reference.lstm(xs[3:], **p, h0=h, c0=c, gates0=s, coupled=True)
    assert_close(ys, expected[3:])
    for state, state_expected in zip(again, final, strict=True):
        assert_close(state, state_expected)


def test_lstm_without_activations_is_linear_where_gates_are_open():
    """With i = f = o = 1 and no activations, one unit adds up what it is given."""
    xs = np.arange(1.0, 5.0).reshape(4, 1)
    off = {"input_gate": False, "forget_gate": False, "output_gate": False}
    ys, _ = reference.lstm(xs, [[1.0]], [[0.0]], [0.0], **off, input_activation=None, output_activation=None)
    assert_close(ys[:, 0], [1.0, 3.0, 6.0, 10.0])


def test_lstm_1997_is_the_switchboard_with_its_own_activations():
    """4σ(x) − 2 = 2 tanh(x/2) and 2σ(x) − 1 = tanh(x/2)."""
    p, xs = make_weights(3), make_xs(BATCH_SIZE)  # i, g, o
    ys, (y, s) = reference.lstm_1997(xs, **p)
    expected, (h, c) = reference.lstm(
        xs,
        **p,
        forget_gate=False,
        input_activation=lambda x: 2.0 * np.tanh(x / 2.0),
        output_activation=lambda x: np.tanh(x / 2.0),
    )
    assert_close(ys, expected)
    assert_close(y, h)
    assert_close(s, c)


@pytest.mark.parametrize("cell", [reference.gru, reference.gru_reset_before])
def test_gru_without_a_gate(cell):
    whole, xs = make_weights(3), make_xs(BATCH_SIZE)  # r, z, n
    expected, _ = cell(xs, **saturated(whole, 0))
    ys, _ = cell(xs, **gates_only(whole, (1, 2)), reset_gate=False)
    assert_close(ys, expected)

    shut = saturated(whole, 1)
    shut = {**shut, "b": np.where(shut["b"] == 1000.0, -1000.0, shut["b"])}
    expected, _ = cell(xs, **shut)
    ys, _ = cell(xs, **gates_only(whole, (0, 2)), update_gate=False)
    assert_close(ys, expected)

    kept, _ = cell(xs, **saturated(whole, 1), h0=0.3)
    assert_close(kept, 0.3)

    ys, _ = cell(xs, **gates_only(whole, (2,)), reset_gate=False, update_gate=False)
    assert_close(ys, reference.elman(xs, **gates_only(whole, (2,)))[0])


def test_the_two_grus_agree_where_the_place_of_the_reset_gate_cannot_matter():
    """Without the reset gate, or with a diagonal U_n: r ⊙ (U h) = U (r ⊙ h). Else they differ."""
    p, xs = make_weights(3), make_xs(BATCH_SIZE)
    after, before = reference.gru(xs, **p)[0], reference.gru_reset_before(xs, **p)[0]
    assert np.max(np.abs(after - before)) > 1e-2
    p["U"][:, 2 * HIDDEN_SIZE :] = np.diag(np.linspace(-1.0, 1.0, HIDDEN_SIZE))
    assert_close(reference.gru(xs, **p)[0], reference.gru_reset_before(xs, **p)[0])
    p = gates_only(p, (1, 2))
    after, _ = reference.gru(xs, **p, reset_gate=False)
    before, _ = reference.gru_reset_before(xs, **p, reset_gate=False)
    assert_close(after, before)


def test_references_compute_in_float64():
    p = {name: array.astype(np.float32) for name, array in make_weights(4).items()}
    ys, (h, c) = reference.lstm(make_xs(BATCH_SIZE).astype(np.float32), **p)
    assert ys.dtype == h.dtype == c.dtype == np.float64


def test_gru_reset_before_unit_by_unit():
    """One step, every sum written out: r of unit k meets h of unit k before U."""
    p, x = make_weights(3, h0=(HIDDEN_SIZE,)), make_xs()[0]
    h0 = p["h0"]

    def net(gate, unit, h):
        k = gate * HIDDEN_SIZE + unit
        from_x = sum(x[j] * p["W"][j, k] for j in range(INPUT_SIZE))
        return from_x + sum(h[j] * p["U"][j, k] for j in range(HIDDEN_SIZE)) + p["b"][k]

    r = [1 / (1 + np.exp(-net(0, unit, h0))) for unit in range(HIDDEN_SIZE)]
    z = [1 / (1 + np.exp(-net(1, unit, h0))) for unit in range(HIDDEN_SIZE)]
    rh = [r[unit] * h0[unit] for unit in range(HIDDEN_SIZE)]
    n = [np.tanh(net(2, unit, rh)) for unit in range(HIDDEN_SIZE)]
    expected = [z[u] * h0[u] + (1 - z[u]) * n[u] for u in range(HIDDEN_SIZE)]
    _, h = reference.gru_reset_before(x[None], **p)
    assert_close(h, expected)
