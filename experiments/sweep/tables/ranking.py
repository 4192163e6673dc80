"""Which variant is best over all tasks and lags of a sweep: by its reach, then by the loss that is left.

Everything here starts from `table.summary`, a row per (task, lag, variant) at its chosen setting. A sweep may be under
way: a variant that lacks a task or a lag is ranked by what it has.
"""

import pandas as pd


def loss_left(cells: pd.DataFrame) -> pd.Series:
    """The median test loss as a share of the chance loss, at most 1; also 1 where there is none, as when diverged."""
    return (cells["test_loss"] / cells["chance_loss"]).clip(upper=1.0).fillna(1.0)


def solved_by_most(cells: pd.DataFrame) -> pd.Series:
    """Whether more than half of the seeds solve."""
    return cells["solved"] > cells["n"] / 2


def longest_solved(cells: pd.DataFrame) -> pd.DataFrame:
    """The longest lag that more than half of the seeds solve, a row per variant, a column per task.

    0 where it solves none of the lags it was run at, NaN where it was run at none of the task.
    """
    solved = cells["seq_len"].where(solved_by_most(cells), 0)
    longest = solved.groupby([cells["variant"], cells["task"]]).max().unstack()
    return longest.loc[cells["variant"].unique(), cells["task"].unique()]


def ranking(cells: pd.DataFrame) -> pd.DataFrame:
    """A row per variant, the best first.

    By `reach`, the longest lag that more than half of the seeds solve, its mean over tasks (0 for one that is not
    solved, or was not run); then those that were run at every (task, lag) before others; then by `left`, the share of
    the chance loss that is left, a mean over the `run` (task, lag) pairs, of which most seeds solve `solved`.
    """
    rows = cells.assign(most=solved_by_most(cells), left=loss_left(cells))
    ranked = rows.groupby("variant", sort=False).agg(
        solved=("most", "sum"), run=("most", "size"), left=("left", "mean")
    )
    ranked.insert(0, "reach", longest_solved(cells).fillna(0).mean(axis=1))
    return ranked.sort_values(["reach", "run", "left"], ascending=[False, False, True], kind="stable")


def solved_of_run(row: pd.Series, num_pairs: int) -> str:
    """'3 of 4', with the number of pairs that were not run, if any: '3 of 4 (2 not run)'."""
    missing = num_pairs - int(row["run"])
    return f"{int(row['solved'])} of {int(row['run'])}" + (f" ({missing} not run)" if missing else "")


def reach_text(value: float) -> str:
    """The longest lag solved: '150', '0' where none is, '–' where the task was not run."""
    return "–" if pd.isna(value) else f"{value:.3g}"


def pairs(cells: pd.DataFrame) -> list[tuple[str, int]]:
    """The (task, lag) pairs: tasks as they come, lags rising."""
    lags = cells.groupby("task", sort=False)["seq_len"].unique()
    return [(task, int(lag)) for task in lags.index for lag in sorted(lags[task])]
