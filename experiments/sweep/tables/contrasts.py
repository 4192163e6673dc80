"""The contrasts that a sweep names, tested at each task and lag, as a table of its report."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from experiments.shared.numbers import figure, markdown
from experiments.sweep.tables.survival import holm, median_time, permutation_log_rank
from experiments.sweep.tables.table import KEYS, best_rows, steps, steps_text

WHAT = (
    "Steps to solve of a variant against its baseline: a permutation log-rank test, in which a seed that has not met "
    "the criterion within its steps is censored there. p by Holm is corrected for the contrasts of one task and lag."
)


def contrasts(runs: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """A row per task, lag and (variant, baseline): both arms' counts and medians, p, and p by Holm within task and lag.

    A pair of which an arm was not run at a task and lag has no row there.
    """
    found = []
    for (task, seq_len), rows in best_rows(runs).groupby(KEYS[:2], sort=False):
        arms = dict(iter(rows.groupby("variant")))
        here = []
        for variant, baseline in pairs:
            if variant not in arms or baseline not in arms:
                continue
            (times, solved), (times_baseline, solved_baseline) = steps(arms[variant]), steps(arms[baseline])
            together = np.concatenate([times, times_baseline]), np.concatenate([solved, solved_baseline])
            here.append(
                {
                    **{"task": task, "seq_len": seq_len, "variant": variant, "baseline": baseline},
                    **{"solved": int(solved.sum()), "n": len(solved), "steps": median_time(times, solved)},
                    **{"solved_baseline": int(solved_baseline.sum()), "n_baseline": len(solved_baseline)},
                    **{
                        "steps_baseline": median_time(times_baseline, solved_baseline),
                        "latest": rows["num_steps"].max(),
                    },
                    "p": permutation_log_rank(*together, len(times)),
                }
            )
        corrected = holm([row["p"] for row in here])
        found += [{**row, "p_holm": float(p)} for row, p in zip(here, corrected, strict=True)]
    return pd.DataFrame(found)


def contrasts_table(found: pd.DataFrame) -> str:
    """What `contrasts` found, as Markdown, with what it is above it."""
    header = ["task", "T", "variant", "baseline", "solved in time", "median steps", "p", "p by Holm"]
    lines = [
        [
            *(row.task, row.seq_len, row.variant, row.baseline),
            f"{row.solved}/{row.n} against {row.solved_baseline}/{row.n_baseline}",
            f"{steps_text(row.steps, row.latest)} against {steps_text(row.steps_baseline, row.latest)}",
            figure(row.p),
            figure(row.p_holm),
        ]
        for row in found.itertuples()
    ]
    return f"{WHAT}\n\n{markdown(header, lines)}"
