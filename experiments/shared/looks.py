"""Colours, lines and markers of variants in every plot."""

# Okabe and Ito's palette without its yellow, which is too light for a line, and with a dark red
COLORS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#000000", "#882255"]
LINES = ["-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1))]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "*"]
CHANCE = {"color": "0.45", "linestyle": ":", "linewidth": 1.4}


def style(variants) -> dict[str, dict]:
    """How each variant is drawn, in all plots."""
    return {
        name: {
            "color": COLORS[i % len(COLORS)],
            "linestyle": LINES[i // len(COLORS) % len(LINES)],
            "marker": MARKERS[i % len(MARKERS)],
            "markerfacecolor": COLORS[i % len(COLORS)] if i // len(COLORS) % 2 == 0 else "white",
        }
        for i, name in enumerate(variants)
    }
