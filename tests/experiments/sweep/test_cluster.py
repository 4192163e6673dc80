"""The sweep on a Ray cluster of two nodes on this machine: what is lost comes back, and the table is the same."""

import re
import subprocess
import sys
import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from experiments.shared.provenance import command
from experiments.sweep.cluster import join
from experiments.sweep.cluster.groups import no_room
from experiments.sweep.settings import Options
from tests.experiments.sweep.processes import ROOT, SIZES, here, output, runs_of, start, until

OF_A_RUN = ["compile_seconds", "run_seconds", "git_commit", "num_devices"]
# Other widths round otherwise: of two cores and of one, after a dozen steps.
LOSSES = ["train_loss", "validation_loss", "test_loss", "gradient_horizon", "gradient_horizon_trained"]
AXES = ["--axis", "seq_len=3,4", "cell=elman", "optimizer=adam,sgd", "learning_rate=0.01", "--seeds", "2"]
FOUR = [*SIZES, "--set", "num_steps=24", *AXES]
# A cell and a task of one's own. The cell's second name fails on nodes, and counts how often.
OWN = """
import sys
from rnnjax import elman, gru
from rnnjax.tasks import make_task

def task(seq_len):
    return make_task("recall", seq_len)

def mine(hidden_size, *, bias=0.0):
    return elman(hidden_size, bias=bias)

def broken(hidden_size):
    if "experiments.sweep.main" not in sys.modules:  # which the driver alone imports
        with open({tries!r}, "a") as file:
            file.write("x")
        raise RuntimeError("this cell only pretends")
    return gru(hidden_size)
"""


@pytest.fixture(scope="module")
def two_nodes(tmp_path_factory):
    """(cluster, its second node, cache of programs): nodes of one core each, the driver's and one to lose."""
    pytest.importorskip("ray")
    cache = tmp_path_factory.mktemp("cache")
    settings = {"JAX_COMPILATION_CACHE_DIR": str(cache), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    size = {"num_cpus": 1, "object_store_memory": join.OBJECTS_BYTES}
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Ray's own code
        from ray.cluster_utils import Cluster

        for name, value in {**settings, "RAY_USAGE_STATS_ENABLED": "0"}.items():
            patch.setenv(name, value)
        nodes = Cluster(initialize_head=True, head_node_args={**size, "include_dashboard": False})
        try:
            yield nodes, nodes.add_node(**size), cache
        finally:
            nodes.shutdown()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The folder of four groups run without Ray."""
    pytest.importorskip("ray")
    folder = tmp_path_factory.mktemp("undisturbed") / "results"
    process = start(FOUR, folder, cache=tmp_path_factory.mktemp("cache"))
    _, errors = output(process)
    assert (process.returncode, errors) == (0, "")
    return folder


def same(folder, expected) -> None:
    """The tables agree: the trials, in their order, all settings and verdicts; losses as far as rounding allows."""
    runs, wanted = runs_of(folder), runs_of(expected)
    assert runs.trial_id.is_unique
    wanted = wanted.set_index("trial_id").loc[runs.trial_id].reset_index()
    assert len(runs) == len(wanted) == len(runs_of(expected))
    exact = [name for name in wanted if name not in OF_A_RUN + LOSSES]
    pd.testing.assert_frame_equal(runs[exact], wanted[exact], check_exact=True)
    for name in LOSSES:
        np.testing.assert_allclose(runs[name], wanted[name], rtol=1e-5, err_msg=name)
    sizes = [
        pd.read_parquet(path / "curves.parquet").groupby(["trial_id", "quantity"]).size() for path in (folder, expected)
    ]
    pd.testing.assert_series_equal(*sizes)
    assert not (folder / "checkpoints").exists()


class Told(NamedTuple):
    """A line in which the driver tells of a group."""

    step: int
    finished: bool
    group: str
    node: str  # the first of its id


def told(printed: str) -> list[Told]:
    found = re.findall(r"^at both elman (\d+) (\w+) (\w+) \S+ (\w+)$", printed, re.MULTILINE)
    return [Told(int(step), finished == "True", group, node) for step, finished, group, node in found]


@pytest.mark.slow
def test_one_machine_gives_the_table_of_none_and_writes_to_a_board(undisturbed, tmp_path):
    """In a cluster of its own, which it starts and stops."""
    pytest.importorskip("tensorboardX")
    own = ["--ray", "local", "--cpus-per-group", "1", "--tensorboard", str(tmp_path / "board")]
    process = start([*FOUR, *own], tmp_path / "results", cache=tmp_path)
    printed, errors = output(process)
    assert (process.returncode, errors) == (0, "")
    assert "8 of 8 runs" in printed
    same(tmp_path / "results", undisturbed)
    assert "--ray" not in (tmp_path / "results" / "config.json").read_text()
    written = [path.read_bytes() for path in (tmp_path / "board").rglob("*tfevents*")]
    assert [events.count(b"validation_loss") for events in written] == [12] * 8


@pytest.mark.slow
def test_the_driver_killed_and_started_again_ends_with_the_same_table(two_nodes, undisturbed, tmp_path):
    nodes, _, cache = two_nodes
    command = [*FOUR, "--ray", nodes.address]
    process = start(command, tmp_path / "results", driver=True, cache=cache)
    until(process, "^at both elman 24 True")
    process.kill()
    output(process)
    first = runs_of(tmp_path / "results")
    assert 2 <= len(first) < 8

    process = start(command, tmp_path / "results", driver=True, cache=cache)
    printed, errors = output(process)
    assert (process.returncode, errors) == (0, "")
    assert f"8 trials, {len(first)} of them finished already" in printed
    assert sum(one.finished for one in told(printed)) == 4 - len(first) // 2
    same(tmp_path / "results", undisturbed)


@pytest.mark.slow
def test_a_group_that_fails_twice_is_a_row_that_says_so(two_nodes, tmp_path):
    """And cells and tasks of one's own, which nothing but the sweep's file knows of, are there on the nodes."""
    nodes, _, cache = two_nodes
    tries, near = tmp_path / "tries", tmp_path / "near"
    near.mkdir()
    (near / "own.py").write_text(OWN.format(tries=str(tries)))
    (near / "my_sweep.py").write_text(
        "from experiments.sweep.spec import Sweep, Trial\nimport own\n"
        "cells = 'own:broken', 'own:mine:bias=0.5'\n"
        "SWEEP = Sweep('mine', '?', '!', Trial(task='own:task', seq_len=3), {'cell': cells})\n"
    )
    command = [str(near / "my_sweep.py"), *SIZES, "--seeds", "1,1", "--ray", nodes.address]
    process = start(command, tmp_path / "results", cache=cache)
    printed, errors = output(process)
    assert (process.returncode, errors) == (0, "")
    assert "failed: own:task T=3: own:broken (1 trials): RuntimeError: this cell only pretends" in printed
    assert tries.read_text() == "x" * 2 * 2  # twice in each of two stages

    runs = runs_of(tmp_path / "results")
    assert list(runs.stage) == ["choose", "choose", "report", "report"]
    assert list(runs.variant) == ["own:broken", "own:mine bias=0.5"] * 2
    failed = runs[runs.error.notna()]
    assert list(failed.error) == ["RuntimeError: this cell only pretends"] * 2
    assert list(failed.cell) == ["own:broken"] * 2
    assert np.isfinite(runs.test_loss[runs.error.isna()]).all()
    said = (tmp_path / "results" / "README.md").read_text()
    assert "Failed: 2, counted as diverged: 2 of own:broken on own:task, T = 3" in said

    source = (near / "own.py").read_text()
    (near / "own.py").write_text(source.replace("not in sys.modules", "in ()"))
    process = start(command, tmp_path / "results", cache=cache)
    printed, errors = output(process)
    assert (process.returncode, errors) == (0, "")
    assert "2 trials, 1 of them finished already" in printed
    mended = runs_of(tmp_path / "results")
    assert list(mended.trial_id) == list(runs.trial_id)
    assert np.isfinite(mended.test_loss).all()
    assert "error" not in mended


@pytest.mark.slow
def test_a_lost_node_is_made_up_for_from_its_checkpoint(two_nodes, undisturbed, tmp_path):
    """The last of this cluster: a node dies in the middle of a group, and the other one goes on with that."""
    nodes, lost, cache = two_nodes
    command = [*FOUR, "--ray", nodes.address, "--checkpoints", str(tmp_path / "shared")]
    process = start(command, tmp_path / "results", driver=True, cache=cache)
    before = "".join(until(process, rf"^at both elman (8|1\d) False .* {lost.node_id[:4]}$"))
    nodes.remove_node(lost, allow_graceful=False)
    after, errors = output(process)
    assert (process.returncode, errors) == (0, "")
    last = told(before)[-1]
    steps = [one.step for one in told(after) if one.group == last.group and one.node != last.node]
    assert steps[0] == 0  # it is begun again
    assert steps[1] > last.step - 6  # from a checkpoint, which may be of a chunk or two before
    ends = [one for one in told(before + after) if one.finished]
    assert len(ends) == len({one.group for one in ends}) == 4
    same(tmp_path / "results", undisturbed)
    assert not (tmp_path / "shared").exists()


# --- without a cluster -----------------------------------------------------------------------------------------------


def test_without_ray_nothing_of_it_is_imported():
    code = "import sys, experiments.sweep.main, experiments.sweep.cluster.join; print('ray' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"


def test_where_ray_is_missing_the_extra_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    code, said = here(capsys, *FOUR, "--ray", "--out", tmp_path / "results")
    assert code == 2
    assert "--ray needs Ray" in said
    assert "pip install 'rnnjax[cluster]'" in said
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ray", "lstm_gates"], "--ray 'lstm_gates' must be HOST:PORT, auto or local"),
        (["--ray", "ray://head:10001"], "--ray 'ray://head:10001' must be HOST:PORT, auto or local"),
        (["--cpus-per-group", "2"], "give --ray, too"),
        (["--ray", "--cpus-per-group", "0"], "--cpus-per-group 0 must be at least 1"),
    ],
)
def test_bad_options_are_refused(arguments, message, capsys):
    code, said = here(capsys, *arguments)
    assert code == 2
    assert message in said


def test_without_an_address_it_is_that_of_the_environment(monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert Options(ray="").ray == "local"
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert Options(ray="").ray == "head:6379"
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    with pytest.raises(ValueError, match="ray='ray://head:10001' must be HOST:PORT, auto or local"):
        Options(ray="")


def test_a_group_too_large_for_every_node_is_told():
    nodes = [{"Alive": True, "Resources": {"CPU": 2.0}}, {"Alive": False, "Resources": {"CPU": 8.0, "GPU": 1.0}}]
    assert no_room(nodes, cpus=2, gpus=0) == ""
    assert no_room(nodes, cpus=2, gpus=1) == "a group takes 2 cores and 1 GPUs, but the nodes have 2 and 0"


@pytest.mark.parametrize(
    "machines",
    [["--ray"], ["--ray", "auto"], ["--ray=head:1"], ["--ray", "--cpus-per-group", "4", "--checkpoints", "x"]],
)
def test_the_machines_are_no_part_of_the_recorded_command(machines):
    assert command("experiments.sweep", ["zoo", *machines, "--seeds", "2"]) == (
        "python -m experiments.sweep zoo --seeds 2"
    )
