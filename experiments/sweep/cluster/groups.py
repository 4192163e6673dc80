"""The groups of a plan as tasks on the nodes of a Ray cluster, and what the driver makes of what comes back.

What is lost with a node or with a process, Ray runs again elsewhere. A group that fails for reasons of its own (its
code raises, or it takes its process down time and again) is tried once more, and is then rows that say so.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.shared.provenance import git_commit
from experiments.sweep import run
from experiments.sweep.cluster.node import Notes, Work, one_line, run_on_node
from experiments.sweep.record.rows import failed_row, no_curves
from experiments.sweep.run import Progress, Result
from experiments.sweep.trials.plan import Group, Plan

TRIES = 2  # of a group that fails for reasons of its own
LOSSES = 5  # of its node or process that a group outlives in each of them
TELL_EVERY_SECONDS = 1.0


def run_groups(
    console: Console, planned: Plan, checkpoints: Path, *, cpus: int, gpus: int, shared: bool
) -> Iterator[list[Progress]]:
    """Run all groups as tasks, as many at once as there is room for; a `Runner` of the arguments by place.

    Args:
      console: where it is said that there is no room for any.
      planned: the groups.
      checkpoints: where they keep their state.
      cpus: cores that each takes.
      gpus: GPUs that each takes.
      shared: whether all nodes see `checkpoints`; where they do not, none are kept.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    lasting = {"num_cpus": 0, "scheduling_strategy": here, "max_restarts": -1, "max_task_retries": -1}
    notes = ray.remote(Notes).options(**lasting).remote()
    call = ray.remote(run_on_node).options(num_cpus=cpus, num_gpus=gpus, max_retries=LOSSES, retry_exceptions=False)
    needed = {(one.trials[0].task, one.trials[0].seq_len) for one in planned.groups}
    # In a list an object is handed on as it is: to unpack it may touch JAX, which a node must set up first.
    tasks = {key: [ray.put(planned.tasks[key])] for key in needed}
    folder = checkpoints if shared else None

    def submit(one: Group) -> Any:
        work = Work(one, planned.stage, folder, run.CHECKPOINT_SECONDS, cpus, gpus)
        return call.remote(work, tasks[one.trials[0].task, one.trials[0].seq_len], notes)

    groups = {one.id: one for one in planned.groups}
    # The longest first, or at the end all would wait for one.
    waiting = {submit(one): one for one in sorted(planned.groups, key=planned.seconds, reverse=True)}
    failures: Counter[str] = Counter()
    furthest: Counter[str] = Counter()  # step that was told of each group
    nodes: dict[str, str] = {}  # where each was last
    said = ""
    while waiting:
        # All that end within a second at once: a call for each would go through all that wait each time.
        ready, _ = ray.wait(list(waiting), num_returns=len(waiting), timeout=TELL_EVERY_SECONDS)
        came = []
        under_way = {one.id for one in waiting.values()}
        for note in ray.get(notes.read.remote()):
            if note.group_id in under_way:
                # What a lost node had told of already is measured once more, and not told again.
                measured = note.measured if note.step > furthest[note.group_id] else None
                furthest[note.group_id] = max(furthest[note.group_id], note.step)
                nodes[note.group_id] = note.node
                came.append(Progress(groups[note.group_id], note.step, measured=measured, node=note.node))
        for reference in ready:
            one = waiting.pop(reference)
            try:
                answer = ray.get(reference)
            except ray.exceptions.RayError as error:
                answer = one_line(error)
            if isinstance(answer, str):
                failures[one.id] += 1
                if failures[one.id] < TRIES:
                    waiting[submit(one)] = one
                    continue
                answer = failed_result(one, planned, answer)
            for row in answer.rows:
                row["git_commit"] = git_commit()  # there is no repository where the code was shipped to
            came.append(Progress(one, one.trials[0].num_steps, answer, node=nodes.get(one.id, "")))
        if came:
            yield came
        else:
            text = no_room(ray.nodes(), cpus, gpus)
            if text and text != said:
                console.print(f"waiting for a node: {text}", markup=False)
            said = text


def no_room(nodes: Iterable[dict[str, Any]], cpus: int, gpus: int) -> str:
    """Why no node of a cluster can take a group, if none can."""
    room = [(node["Resources"].get("CPU", 0), node["Resources"].get("GPU", 0)) for node in nodes if node["Alive"]]
    if any(has >= cpus and has_gpus >= gpus for has, has_gpus in room):
        return ""
    texts = ", ".join(f"{has:g} and {has_gpus:g}" for has, has_gpus in room)
    return f"a group takes {cpus} cores and {gpus} GPUs, but the nodes have {texts}"


def failed_result(one: Group, planned: Plan, error: str) -> Result:
    """What is kept of a group that could not be run to its end: a row for each trial that says why."""
    task = planned.tasks[one.trials[0].task, one.trials[0].seq_len]
    rows = [failed_row(trial, task, one.num_params, planned.stage, error) for trial in one.trials]
    return Result(rows, no_curves(), error)
