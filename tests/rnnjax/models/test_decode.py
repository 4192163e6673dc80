"""Generation: the compiled step against plain loops, and what temperature, top-k, top-p and the end do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax.cells import gru
from rnnjax.models.decode import BLOCK, Options, draw, filtered, generate, make_decoder, over_carry, over_window
from rnnjax.models.model import embedding, make_model, one_hot
from rnnjax.wrappers.layers import bidirectional, stack

V, END, WINDOW = 7, 0, 4
CELL = stack(gru(5), gru(6))
MODEL = make_model(CELL, V, outputs="all", embedding=embedding(V, 3, init=jax.nn.initializers.normal(1.0)))
PARAMS = MODEL.init(jax.random.key(0))
PARAMS = PARAMS._replace(W=5 * PARAMS.W)  # far from uniform
TRACES = []


def counted(next_logits):
    def step(params, carry, token):
        TRACES.append(token.shape)
        return next_logits(params, carry, token)

    return step


start, step = over_carry(MODEL, CELL)
DECODER = make_decoder(start, counted(step), END)
NO_END = Options(banned=np.arange(V) == END)


def plain_loop(apply, prompt, length):
    """The likeliest token but END, after the whole sequence read anew each time."""
    ids = list(prompt)
    for _ in range(length):
        ids.append(int(np.argmax(np.asarray(apply(np.array(ids)))[1:]) + 1))
    return ids[len(prompt) :]


def test_greedy_is_the_plain_loop_over_the_whole_sequence_for_prompts_of_any_length():
    prompts = [[0, 3, 1], [5], [2] * (BLOCK + 3), [1, 4]]
    made = generate(DECODER, PARAMS, prompts, 12, temperatures=0.0, options=NO_END)
    apply = jax.jit(lambda ids, size: MODEL.apply(PARAMS, ids)[size - 1])

    def padded(ids):
        return apply(np.pad(ids, (0, 64 - len(ids))), len(ids))

    assert made == [plain_loop(padded, prompt, 12) for prompt in prompts]
    assert len({tuple(text) for text in made}) > 1


def test_a_window_model_reads_its_last_tokens_alone_also_bidirectional():
    model = make_model(bidirectional(gru(5)), V, outputs="mean", embedding=one_hot(V))
    params = model.init(jax.random.key(1))
    params = params._replace(W=20 * params.W, b=jax.random.normal(jax.random.key(2), (V,)))
    decoder = make_decoder(*over_window(model, WINDOW), END)
    prompts = [[0, 6, 1, 2, 3, 4], [4, 4, 5, 6]]
    made = generate(decoder, params, prompts, 9, temperatures=0.0, options=NO_END)
    apply = jax.jit(lambda ids: model.apply(params, ids))
    assert made == [plain_loop(lambda ids: apply(ids[-WINDOW:]), prompt, 9) for prompt in prompts]


def test_no_option_is_compiled_anew():
    generate(DECODER, PARAMS, [[1], [2]], 3)
    before = len(TRACES)
    for options in (
        {"temperatures": [1.0, 0.5, 0.2]},
        {"temperatures": 0.0, "seed": 4},
        {"options": Options(top_k=3, top_p=0.5)},
        {"options": Options(top_p=0.1)},
    ):
        generate(DECODER, PARAMS, [[1, 2, 3], [2] * 50], 70, **options)
    assert len(TRACES) <= before + 1  # banned=False has another shape in NO_END's program, the rest is one


def test_a_text_depends_on_its_seed_and_place_alone():
    many = generate(DECODER, PARAMS, [[1]] * 3, 40, seed=5, options=NO_END)
    assert generate(DECODER, PARAMS, [[1]], 40, seed=5, options=NO_END) == many[:1]
    assert many[0] != many[1]
    assert generate(DECODER, PARAMS, [[1]] * 3, 40, seed=6, options=NO_END) != many


def test_temperatures_are_taken_in_turn_from_the_first_token_drawn():
    """Every second token is the likeliest after those before it, the others, drawn at a high temperature, are not."""
    prompt = [3, 2, 6]
    (made,) = generate(DECODER, PARAMS, [prompt], 40, temperatures=[0.0, 50.0], options=NO_END)
    ids = np.array(prompt + made)
    likeliest = np.argmax(np.asarray(MODEL.apply(PARAMS, ids))[:, 1:], axis=-1) + 1
    hit = likeliest[2:-1] == ids[3:]
    assert hit[::2].all()
    assert hit[1::2].mean() < 0.6


def test_each_row_may_have_temperatures_of_its_own():
    same = [[1, 2]] * 2
    made = generate(DECODER, PARAMS, same, 30, temperatures=[[0.0], [9.0]], options=NO_END)
    assert made[0] == generate(DECODER, PARAMS, same, 30, temperatures=0.0, options=NO_END)[0]
    assert made[1] != made[0]


def test_the_end_ends_a_text_and_the_others_go_on():
    told = []
    made = generate(DECODER, PARAMS, [[1]] * 8, 80, temperatures=2.0, seed=1, tell=told.append)
    sizes = [len(text) for text in made]
    assert min(sizes) < 80
    assert all(END not in text for text in made)
    whole = generate(DECODER, PARAMS, [[1]] * 8, 80, temperatures=2.0, seed=1, options=NO_END)
    assert all(len(text) == 80 for text in whole)
    assert [[token for block in told for token in block[i]] for i in range(8)] == made


def test_all_ended_stops_early():
    sure = PARAMS._replace(b=PARAMS.b.at[END].set(1e4))
    told = []
    assert generate(DECODER, sure, [[1]] * 8, 500, tell=told.append) == [[]] * 8
    assert len(told) == 1


def test_draws_follow_the_tempered_softmax():
    logits, n, temperature = np.array([0.3, -1.0, 2.0, 0.5]), 4000, 1.7
    keys = jax.random.split(jax.random.key(3), n)
    drawn = draw(keys, jnp.tile(logits, (n, 1)), jnp.full(n, temperature), Options(0, 1.0))
    p = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
    count = np.bincount(drawn, minlength=4)
    assert np.all(abs(count - n * p) < 4 * np.sqrt(n * p * (1 - p)))
    assert set(np.asarray(draw(keys[:3], jnp.tile(logits, (3, 1)), jnp.zeros(3), Options(0, 1.0)))) == {2}


@pytest.mark.parametrize("temperature", [1e-30, 1e-37, 2e-38, 1e-39, 1e-45])
@pytest.mark.parametrize("options", [Options(0, 1.0), Options(3, 0.9), Options(0, 1.0, np.arange(4) == 1)])
def test_the_coldest_draw_the_likeliest(temperature, options):
    logits = jnp.tile(jnp.array([40.0, 90.0, 41.0, -50.0]), (20, 1))
    drawn = draw(jax.random.split(jax.random.key(0), 20), logits, jnp.full(20, temperature, jnp.float32), options)
    assert set(np.asarray(drawn).tolist()) == {2 if np.any(options.banned) else 1}


def reference(logits, top_k, top_p):
    """The tokens kept: the top_k likeliest, of those the fewest that reach top_p."""
    order = np.argsort(-logits)[: top_k or None]
    p = np.exp(logits[order]) / np.exp(logits[order]).sum()
    count = int(np.searchsorted(np.cumsum(p), top_p - 1e-6)) + 1
    return set(order[:count].tolist())


@pytest.mark.parametrize(("top_k", "top_p"), [(0, 1.0), (1, 1.0), (4, 1.0), (0, 0.5), (0, 0.01), (5, 0.8), (99, 0.9)])
def test_top_k_and_top_p_keep_what_a_plain_count_keeps(top_k, top_p):
    logits = np.random.default_rng(top_k).normal(0, 2, (30, 20)).astype(np.float32)
    kept = np.isfinite(np.asarray(filtered(jnp.asarray(logits), top_k, top_p)))
    for row, mask in zip(logits, kept, strict=True):
        assert set(np.flatnonzero(mask).tolist()) == reference(row.astype(float), top_k, top_p)


def test_what_is_left_out_is_never_drawn():
    logits = jnp.tile(jnp.array([0.0, 0.1, 0.2, 0.3]), (500, 1))
    keys = jax.random.split(jax.random.key(0), 500)
    options = Options(2, 1.0, np.array([False, False, False, True]))
    assert set(np.asarray(draw(keys, logits, jnp.ones(500), options)).tolist()) == {1, 2}
