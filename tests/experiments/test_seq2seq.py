"""Encoder-decoders: equations, decoding against exhaustive search, the tasks, and the program end to end."""

import itertools
import re
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from experiments.seq2seq import main as seq2seq, program, tasks
from experiments.seq2seq.settings import PRESETS, Attention
from experiments.shared.results import NEEDED
from rnnjax.cells import elman, gru, lstm
from rnnjax.models.model import embedding
from rnnjax.models.seq2seq import ATTENTION, END, beam_search, greedy, make_seq2seq
from rnnjax.unrolling import unroll
from rnnjax.wrappers.layers import bidirectional, stack

SYMBOLS, TOKENS, S, T, B = 5, 4, 6, 3, 3
SOURCE = jnp.array([[1, 2, 3, 0, 4, 1], [4, 4, 0, 2, 2, 2], [3, 1, 0, 0, 0, 0]]).T
LENGTHS = jnp.array([6, 4, 1])
TARGET = jnp.array([[1, 2, 3], [3, 3, END], [2, END, END]]).T


def build(encoder, decoder, attention):
    """A model, and random parameters in the shapes of its own: drawing those themselves takes longer to compile."""
    vectors = embedding(SYMBOLS, 3), embedding(TOKENS, 4)
    model = make_seq2seq(encoder, decoder, *vectors, TOKENS, attention=attention)
    rng = np.random.default_rng(2)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return model, jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, 0.7, leaf.shape), jnp.float32), shapes)


NETWORKS = {
    "lstm, none": (lstm(4), lstm(4), "none"),
    "elman to lstm, additive": (elman(5), lstm(4), "additive"),
    "both ways to a stack, general": (bidirectional(elman(3)), stack(gru(4), gru(4)), "general"),
}


@pytest.fixture(scope="module", params=NETWORKS)
def network(request):
    return build(*NETWORKS[request.param])


@pytest.fixture(scope="module")
def teach(network):
    """Logits of the targets as a function of source and target, compiled once."""
    model, params = network
    return jax.jit(lambda source, target: model.teach(params, model.encode(params, source, LENGTHS), target))


def test_teaching_is_deciding_step_by_step(network, teach):
    model, params = network

    @jax.jit
    def stepwise(params):
        encoded = model.encode(params, SOURCE, LENGTHS)

        def step(carry, token):
            return model.step(params, encoded, carry, token)

        return jax.lax.scan(step, encoded.carry, jnp.concatenate([jnp.full((1, B), END), TARGET[:-1]]))[1]

    taught = teach(SOURCE, TARGET)
    assert taught.shape == (T, B, TOKENS)
    np.testing.assert_allclose(taught, stepwise(params), atol=2e-6)


def test_padding_of_sources_counts_for_nothing(teach):
    changed = jnp.where(jnp.arange(S)[:, None] < LENGTHS, SOURCE, 4)
    assert (changed != SOURCE).any()
    np.testing.assert_array_equal(teach(SOURCE, TARGET), teach(changed, TARGET))


def test_logits_depend_on_the_source_and_on_earlier_tokens_alone(teach):
    before = teach(SOURCE, TARGET)
    change = jnp.abs(teach(SOURCE.at[0, 0].set(4), TARGET) - before)
    assert change[:, 0].max(axis=1).min() > 1e-4
    assert change[:, 1:].max() == 0
    change = jnp.abs(teach(SOURCE, TARGET.at[1, 0].set(1)) - before).max(axis=-1)
    np.testing.assert_array_equal(change > 0, [[False] * 3, [False] * 3, [True, False, False]])


@pytest.mark.parametrize("attention", ["none", "general", "additive"])
def test_equations(attention):
    """One source, in float64 from the outputs of encoder and decoder."""
    encoder, decoder = gru(4), gru(4)
    model, params = build(encoder, decoder, attention)
    tokens, target = SOURCE[:, 1], TARGET[:, 1]  # 3, 3, END

    @jax.jit
    def run(params):
        given = model.teach(params, model.encode(params, tokens, jnp.array(4)), target)
        carry, e = unroll(encoder, params.encoder, params.source[tokens[:4]])
        before = params.target[jnp.array([END, 3, 3])]
        return given, e, unroll(decoder, params.decoder, before, carry)[1]

    given, e, d = (np.asarray(a, np.float64) for a in run(params))
    h = d
    if attention != "none":
        p = {name: np.asarray(a, np.float64) for name, a in params.attention.items()}
        h = []
        for d_t in d:
            if attention == "general":
                score = np.array([d_t @ (e_s @ p["W_a"]) for e_s in e])
            else:
                score = np.array([p["v"] @ np.tanh(e_s @ p["W_a"] + d_t @ p["U_a"]) for e_s in e])
            a = np.exp(score) / np.exp(score).sum()
            h.append(np.tanh(np.concatenate([d_t, a @ e]) @ p["W_c"]))
        h = np.array(h)
    np.testing.assert_allclose(given, h @ params.W + params.b, rtol=1e-4, atol=1e-5)


def test_the_carry_is_handed_over_as_it_is_where_it_fits():
    model, params = build(lstm(4), lstm(4), "none")
    assert params.bridge is None

    @jax.jit
    def both(params):
        xs = params.source[SOURCE]
        return model.encode(params, SOURCE, LENGTHS).carry, unroll(lstm(4), params.encoder, xs, lengths=LENGTHS)[0]

    given, final = both(params)
    np.testing.assert_allclose(given.c, final.c, rtol=1e-5)


def test_a_bridged_carry_is_tanh_of_a_linear_map_of_all_leaves():
    model, params = build(bidirectional(elman(3)), lstm(4), "none")
    bridge = [(W, b + 0.1) for W, b in params.bridge]

    @jax.jit
    def both(params):
        xs = params.source[SOURCE]
        ends = [
            unroll(elman(3), p, xs, lengths=LENGTHS, reverse=reverse)[0]
            for p, reverse in zip(params.encoder, (False, True), strict=True)
        ]
        carry = model.encode(params._replace(bridge=bridge), SOURCE, LENGTHS).carry
        return carry, jnp.concatenate(ends, axis=-1)

    carry, s = both(params)
    assert len(bridge) == 2
    for leaf, (W, b) in zip((carry.h, carry.c), bridge, strict=True):
        np.testing.assert_allclose(leaf, np.tanh(s @ W + b), rtol=1e-4, atol=1e-5)


def test_what_cannot_be_built():
    with pytest.raises(ValueError, match="unknown attention 'genral'; did you mean 'general'"):
        build(gru(4), gru(4), "genral")
    with pytest.raises(ValueError, match="the decoder must be a Cell"):
        build(gru(4), bidirectional(gru(4)), "none")


# --- decoding ---------------------------------------------------------------------------------------------------------


def exhaustive(model, params):
    """For each source, all targets of up to T tokens with their log-probabilities, the likeliest first."""
    targets = np.array(list(itertools.product(range(TOKENS), repeat=T)))
    targets = targets[[all(b == END for a, b in itertools.pairwise(row) if a == END) for row in targets]]

    @jax.jit
    def log_p(params, targets):
        encoded = model.encode(params, SOURCE, LENGTHS)
        teach = jax.vmap(lambda one: model.teach(params, encoded, jnp.broadcast_to(one[:, None], (T, B))))
        return jax.nn.log_softmax(teach(targets))  # [all targets, T, B, V]

    each = np.take_along_axis(np.asarray(log_p(params, targets)), targets[:, :, None, None], axis=-1)[..., 0]
    counted = np.cumsum(targets == END, axis=1) - (targets == END) == 0
    total = (each * counted[..., None]).sum(axis=1)
    order = np.argsort(-total, axis=0)
    return [(targets[order[:, b]], total[order[:, b], b]) for b in range(B)]


def test_a_wide_beam_finds_the_likeliest_targets_of_all(network):
    model, params = network
    width = TOKENS**T
    beams = jax.jit(lambda p: beam_search(model, p, SOURCE, LENGTHS, T, width))(params)
    for b, (targets, log_p) in enumerate(exhaustive(model, params)):
        count, found = len(targets), np.asarray(beams.log_probability[b])
        np.testing.assert_array_equal(np.asarray(beams.tokens[b])[:count], targets)
        np.testing.assert_allclose(found[:count], log_p, atol=1e-4)
        assert (found[count:] == -np.inf).all()


def test_a_beam_of_one_is_greedy_and_greedy_takes_the_likeliest_token(network):
    model, params = network

    @jax.jit
    def run(params):
        tokens = greedy(model, params, SOURCE, LENGTHS, 8)
        taught = model.teach(params, model.encode(params, SOURCE, LENGTHS), tokens)
        return tokens, beam_search(model, params, SOURCE, LENGTHS, 8, 1).tokens[:, 0].T, taught

    tokens, narrow, taught = (np.asarray(a) for a in run(params))
    np.testing.assert_array_equal(narrow, tokens)
    ended = np.cumsum(tokens == END, axis=0) - (tokens == END) > 0
    np.testing.assert_array_equal(np.where(ended, END, taught.argmax(axis=-1)), tokens)


# --- tasks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", tasks.TASKS)
def test_no_source_of_three_symbols_or_more_is_trained_on_and_tested(name):
    task = tasks.make_task(name)
    train = tasks.training_sources(task, 3000)
    assert len(train) == 3000
    lengths, counts = np.unique([len(source) for source in train], return_counts=True)
    assert lengths.tolist() == sorted(task.seen)
    assert counts.max() - counts.min() <= 1
    for part in (tasks.TEST, tasks.VALIDATION):
        for length in (3, *task.unseen):
            held = tasks.held_out_sources(task, part, length, 50)
            assert len(set(held)) == len(held) == 50
            assert {len(source) for source in held} == {length}
            assert {tasks.part_of(source) for source in held} == {part}
            assert not set(held) & set(train)
    assert len(tasks.held_out_sources(task, tasks.TEST, 1, 50)) == len(task.symbols)


@pytest.mark.parametrize("name", tasks.TASKS)
def test_pairs_say_what_the_task_says(name):
    task = tasks.make_task(name)
    vocabulary = tasks.make_vocabulary(task)
    longest = tasks.longest_target(task)
    sources = [s for n in (*task.seen, *task.unseen) for s in tasks.held_out_sources(task, tasks.TEST, n, 20)]
    given = tasks.pairs(task, vocabulary, sources, max(task.unseen), longest)
    for row, source in enumerate(sources):
        text = "".join(task.symbols[i] for i in given.source[row, : given.source_length[row]])
        assert text == source
        tokens = vocabulary.decode(given.target[row])
        assert len(tokens) + 1 == given.target_length[row] <= longest
        if name == "reverse":
            assert task.join(tokens) == source[::-1]
        else:
            assert source == "0" or source[0] != "0"
            assert task.join(tokens) == tasks.LANGUAGES[name[-2:]](int(source))


def test_every_word_of_every_length_is_in_the_vocabulary():
    for name in ("numbers-en", "numbers-ru"):
        task = tasks.make_task(name)
        known = set(tasks.make_vocabulary(task).tokens)
        numbers = [n * 10**k for n in range(1, 1000) for k in range(9) if n * 10**k < 10 ** max(task.unseen)]
        assert {token for n in [0, *numbers] for token in task.write(str(n))} | {"<end>"} == known


def test_sources_that_do_not_fit():
    task = tasks.make_task("numbers-en")
    vocabulary = tasks.make_vocabulary(task)
    for source, message in {"12a": "'12a' holds 'a'", "": "'' has 0 symbols", "123456789": "9 symbols; 1 to 8"}.items():
        with pytest.raises(ValueError, match=message):
            tasks.pairs(task, vocabulary, [source], 8, 20)


def test_lengths_in_words():
    assert program.span((1, 2, 3, 4, 5, 7)) == "1-5, 7"
    assert program.span((6, 8, 9)) == "6, 8-9"


# --- the program ------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch):
    """Strings of three letters to reverse; four are not seen in training."""
    task = tasks.TASKS["reverse"]._replace(symbols="abcd", seen=(1, 2, 3), unseen=(4,))
    monkeypatch.setitem(tasks.TASKS, "reverse", task)
    return ["--hidden-size", "32", "--embedding-size", "8", "--num-train", "2000", "--learning-rate", "0.02"]


def test_strings_are_reversed_recorded_and_written(tmp_path, capsys, small):
    out = tmp_path / "out"
    command = ["reverse", "--attention", "general", "--seeds", "1", "--num-steps", "300", "--encoder", "gru"]
    command += [*small, "--out", str(out), "--write", "abcd", "dab"]
    assert seq2seq.main(command) == 0
    printed = capsys.readouterr().out
    assert re.search(r"greedy: dab -> bad +right", " ".join(printed.split()))
    runs = pd.read_csv(out / "runs.csv")
    assert set(NEEDED) <= set(runs.columns)
    values = runs.set_index(["metric", "split"])["value"]
    assert len(values) == 4
    assert values["exact match, greedy", "lengths seen: 1-3"] > 0.9
    assert values["exact match, greedy", "lengths not seen: 4"] < 0.5
    lines = pd.read_csv(out / "by_length.csv")
    by_length = lines[lines["decoding"] == "greedy"].set_index("length")
    assert by_length.index.tolist() == [1, 2, 3, 4]
    assert by_length.loc[[1, 2, 3], "value"].mean() == pytest.approx(values["exact match, greedy", "lengths seen: 1-3"])
    assert by_length.loc[1, "num_test"] == 4
    examples = pd.read_csv(out / "examples.csv")
    assert examples["source"].str.len().tolist() == [1, 2, 3, 4] * 2
    assert examples["right"].tolist() == [source[::-1] for source in examples["source"]]
    assert examples["text"][2] == examples["right"][2]
    assert "](reverse.png)" in (out / "README.md").read_text()
    assert (out / "reverse.png").stat().st_size > 10_000


def test_lengths_of_the_same_network_replace_those_of_an_earlier_run(tmp_path):
    what = {"preset": "a", "dataset": "reverse", "cell": "lstm"}
    old = pd.DataFrame([{**what, "value": 1}, {**what, "cell": "gru", "value": 2}, {**what, "preset": "b", "value": 3}])
    program.joined(tmp_path / "by_length.csv", old, list(what))
    new = program.joined(tmp_path / "by_length.csv", pd.DataFrame([{**what, "value": 4}]), list(what))
    assert new["value"].tolist() == pd.read_csv(tmp_path / "by_length.csv")["value"].tolist() == [2, 3, 4]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["revers"], "unknown preset 'revers'; did you mean 'reverse'?"),
        (["reverse", "--attention", "dot"], "unknown attention 'dot'; known: none, general, additive"),
        (["reverse", "--decoder", "gruu"], "unknown cell 'gruu'; did you mean 'gru'?"),
        (["reverse", "--num-steps", "50"], "--num-steps 50 must be a multiple of 100"),
        (["reverse", "--beam-width", "0"], "--beam-width 0 must be at least 1"),
        (["reverse", "--learning-rate", "nan"], "--learning-rate nan is not a number"),
        (["reverse", "--dropout", "1.5"], "--dropout 1.5 must be at least 0 and below 1"),
        (["numbers-ru", "--write", "7", "6 5"], "'6 5' holds ' '; numbers-ru takes 0123456789"),
    ],
)
def test_bad_input_is_told_of_before_any_work(capsys, arguments, message):
    assert seq2seq.main(arguments) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_the_names_that_are_written_out_are_those_of_the_library_and_the_tasks():
    assert get_args(Attention) == tuple(ATTENTION)
    assert tuple(PRESETS) == tuple(tasks.TASKS)


def test_labels_as_recorded():
    given = seq2seq.COMMAND.read(["numbers-ru", "--bidirectional", "--encoder", "gru"])
    label, settings = program.with_attention(given, "none")
    assert label == "numbers-ru --encoder gru --bidirectional, no attention"
    assert (settings.attention, settings.encoder) == ("none", "gru")
