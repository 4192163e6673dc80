"""The three plots of a sweep: learning curves, success by lag, gradient norm by lag.

Each function returns a matplotlib Figure; write_plots saves them as PNG. A variant has the same colour, line and
marker in all of them: eight colours that colour-blind readers can tell apart. Where a sweep has more than MOST_LINES
variants, each of the three is a heat map with a named row a variant.
"""

from pathlib import Path

import pandas as pd

from experiments.sweep.plots.learning import learning_curves
from experiments.sweep.plots.maps import learning_map, norm_map, success_map
from experiments.sweep.plots.norms import gradient_norm_by_lag
from experiments.sweep.plots.panels import NORMS
from experiments.sweep.plots.success import success_by_lag
from experiments.sweep.tables.table import best_rows

MOST_LINES = 8  # colours that can be told apart; with more variants, lines cannot
QUANTITIES = ["validation_loss", *NORMS]


def write_plots(folder, runs: pd.DataFrame, curves: pd.DataFrame | None, title="") -> list[Path]:
    """Draws what the data allows into the folder and returns the paths, in reading order."""
    many = best_rows(runs)["variant"].nunique() > MOST_LINES
    figures = {"success_by_lag.png": (success_map if many else success_by_lag)(runs, title)}
    if curves is not None:
        figures["learning_curves.png"] = (learning_map if many else learning_curves)(runs, curves, title)
        figures["gradient_norm_by_lag.png"] = (norm_map if many else gradient_norm_by_lag)(runs, curves, title)
    paths = []
    for name, figure in figures.items():
        path = Path(folder) / name
        if figure is None:
            path.unlink(missing_ok=True)
            continue
        figure.savefig(path, dpi=144)
        paths.append(path)
    return paths
