"""Two grids: every row of a task against every other, and test images by how many seeds of two rows got them right."""

from pathlib import Path

from headstart.report.changed import Verdicts
from headstart.report.groups import Comparison
from headstart.report.paired import Family
from headstart.report.style import shorten
from headstart.tracking.confusion import count_pairs
from headstart.tracking.plot_style import INK, MUTED, RULE, save, sheet

MOST_ROWS = 24
# Blue where the row is better than the column, orange where it is worse; white between.
AHEAD, BEHIND = "#0072B2", "#D55E00"


def draw_pairs(comparison: Comparison, family: Family, path: Path) -> Path:
    """Draw the differences of the best rows (at most 24): a full cell is shown by its test, a pale one is not."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgb
    from matplotlib.patches import Rectangle

    rows = family.rows[:MOST_ROWS]
    names = [shorten(comparison.label(row, within_task=True), 34) for row in rows]
    n = len(rows)
    longest = max(len(name) for name in names)  # a character takes 0.07 inches along, 0.05 of them aslant
    figure = sheet(0.3 + 0.12 * longest + 0.46 * n, 0.3 + 0.05 * longest + 0.38 * n)
    axes = figure.add_subplot()
    pairs = {(a, b): family.between(rows[a], rows[b]) for a in range(n) for b in range(n) if a != b}
    widest = max(abs(pair.gain) for pair in pairs.values()) or 1.0
    shades = LinearSegmentedColormap.from_list("ahead", [to_rgb(BEHIND), (1, 1, 1), to_rgb(AHEAD)])
    for (up, across), pair in pairs.items():
        colour = shades(0.5 + 0.42 * pair.gain / widest) if pair.shown else "#f3f4f6"
        axes.add_patch(Rectangle((across - 0.48, up - 0.48), 0.96, 0.96, facecolor=colour, edgecolor="none"))
        ink = MUTED if not pair.shown else "white" if abs(pair.gain) > 0.6 * widest else INK
        weight = "bold" if pair.shown else "normal"
        axes.text(
            across,
            up,
            pair.metric.number(pair.gain, "+"),
            ha="center",
            va="center",
            fontsize=7.5,
            color=ink,
            weight=weight,
        )
    axes.set_xlim(-0.5, n - 0.5)
    axes.set_ylim(n - 0.5, -0.5)
    axes.set_yticks(range(n), names, fontsize=8.5)
    axes.set_xticks(range(n), names, fontsize=8.5, rotation=45, ha="left", rotation_mode="anchor")
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return save(figure, path)


def draw_verdicts(found: Verdicts, names: tuple[str, str], colours: tuple[str, str], path: Path) -> Path:
    """Draw how many test images are right in so many seeds of the one row (up) and of the other (across)."""
    import numpy as np

    full = found.seeds + 1
    counts = count_pairs(found.one, found.other, full)
    figure = sheet(max(3.9, 1.6 + 0.72 * full), max(3.3, 1.3 + 0.62 * full))
    axes = figure.add_subplot()
    top = max(1, int(counts[~np.eye(full, dtype=bool)].max()))
    for up in range(full):
        for across in range(full):
            count = int(counts[up, across])
            strength = 0.15 if up == across else 0.1 + 0.75 * count / top
            colour = "#8c959f" if up == across else colours[int(up < across)]
            axes.bar(across, 0.94, 0.94, up - 0.47, color=colour, alpha=strength if count else 0.06)
            dark = up != across and count > 0.55 * top
            axes.text(across, up, f"{count:,}", ha="center", va="center", fontsize=9, color="white" if dark else INK)
    axes.set_xlim(-0.5, full - 0.5)
    axes.set_ylim(-0.5, full - 0.5)
    axes.set_xticks(range(full))
    axes.set_yticks(range(full))
    axes.set_xlabel(f"seeds right: {shorten(names[1], 34)}", color=MUTED)
    axes.set_ylabel(f"seeds right: {shorten(names[0], 34)}", color=MUTED)
    axes.tick_params(length=0)
    axes.set_facecolor("white")
    for spine in axes.spines.values():
        spine.set_color(RULE)
    return save(figure, path)
