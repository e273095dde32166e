"""Four plots of a bench: curves, speed-up, quality against size, cost of n sizes. Ours is solid, baselines dashed."""

from math import ceil, log
from pathlib import Path
from statistics import mean
from textwrap import fill
from typing import Any

from pipelines.bench.metrics import Line, lines
from pipelines.bench.results import SCRATCH, Outcome, Results

OURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#882255",
    "#117733",
    "#332288",
    "#999933",
    "#AA4499",
    "#661100",
    "#44AA99",
)
BASELINES = ("#8C564B", "#7F7F7F", "#9467BD", "#BCBD22", "#17BECF", "#E377C2", "#1F4E79", "#B8860B", "#2E8B57")
"""Okabe and Ito's colours with seven of Tol's, and muted ones; markers and dashes tell starts apart as well."""
MARKERS = "osD^vP*Xh<>"
DASHES = ((0, (5, 2)), (0, (2, 1.5)), (0, (6, 2, 1.5, 2)), (0, (9, 3)))
STROKES = ("-", (0, (8, 1)), (0, (3, 1)))
GREY = "0.6"
PLOTS = ("curves", "speedup", "quality", "cost")


def draw(results: Results, folder: Path) -> None:
    """Write `curves.png`, `speedup.png`, `quality.png` and `cost.png`."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    table = lines(results)
    styles = {start: _style(results, start) for start in results.starts}
    for name, plot in zip(PLOTS, (_curves, _speedup, _quality, _cost), strict=True):
        figure = plot(plt, results, table, styles)
        figure.savefig(folder / f"{name}.png", dpi=130)
        plt.close(figure)


def _style(results: Results, start: str) -> dict[str, Any]:
    if start == SCRATCH:
        return {"color": "0.35", "linestyle": ":", "linewidth": 2, "marker": "x"}
    ours = start in results.ours
    group = [s for s in results.starts if s != SCRATCH and (s in results.ours) == ours]
    i = group.index(start)
    colors = OURS if ours else BASELINES
    # when all colours have been used, they come again with longer strokes
    stroke = STROKES[i // len(OURS) % len(STROKES)] if ours else DASHES[i % len(DASHES)]
    line = {"linestyle": stroke, "linewidth": 2 if ours else 1.2}
    return {"color": colors[i % len(colors)], "marker": MARKERS[i % len(MARKERS)], **line}


def _shown(results: Results, score: float) -> float:
    return 100 * score if results.metric == "accuracy" else score


def _label(results: Results, split: str) -> str:
    return f"{results.metric}{', %' if results.metric == 'accuracy' else ''} ({split})"


def _curves(plt: Any, results: Results, table: list[Line], styles: dict[str, dict[str, Any]]) -> Any:
    sizes = results.sizes
    columns = len(sizes) if len(sizes) < 4 else ceil(len(sizes) / ceil(len(sizes) / 4))
    rows = ceil(len(sizes) / columns)
    first = min(point.step for o in (*results.outcomes, *results.reference) for point in o.points if point.step)
    figure, axes = plt.subplots(
        rows, columns, figsize=(4.4 * columns + 2, 3.8 * rows), squeeze=False, layout="constrained"
    )
    flat = [axis for row in axes for axis in row]
    for axis, size in zip(flat, sizes, strict=False):
        long = [o for o in results.reference if o.size == size]
        _band(axis, results, long, {"color": GREY, "linewidth": 1.5, "label": "scratch, long"})
        final = mean(_shown(results, o.points[-1].score) for o in long)
        axis.axhline(final, color=GREY, linestyle="--", linewidth=1)
        for line in (line for line in table if line.size == size):
            style = {key: value for key, value in styles[line.start].items() if key != "marker"}
            _band(axis, results, line.outcomes, {**style, "label": line.start})
        axis.set_xscale("symlog", linthresh=first, linscale=0.4)
        axis.set_xlim(left=0)
        axis.set(title=str(size), xlabel="optimizer step")
        axis.grid(alpha=0.3)
        if results.metric == "eval_loss":
            _leave_out_the_start(axis, results, size)
    for axis in flat[len(sizes) :]:
        axis.set_visible(False)
    for row in axes:
        row[0].set_ylabel(_label(results, "held-out training samples"))
    _legend(figure, flat[: len(sizes)])
    return figure


def _leave_out_the_start(axis: Any, results: Results, size: object) -> None:
    """A start may have a loss many times the final one; what matters lies below that of random guessing."""
    here = [o for o in (*results.outcomes, *results.reference) if o.size == size]
    lowest = min(point.score for o in here for point in o.points)
    highest = max(o.points[0].score for o in here if o.start == SCRATCH)
    axis.set_ylim(lowest - 0.03 * (highest - lowest), highest + 0.1 * (highest - lowest))


def _band(axis: Any, results: Results, outcomes: Any, style: dict[str, Any]) -> None:
    """Mean over the seeds, and from the lowest to the highest."""
    runs = [[_shown(results, point.score) for point in o.points] for o in outcomes]
    steps = [point.step for point in outcomes[0].points]
    axis.plot(steps, [mean(at) for at in zip(*runs, strict=True)], **style)
    low, high = ([end(at) for at in zip(*runs, strict=True)] for end in (min, max))
    axis.fill_between(steps, low, high, color=style["color"], alpha=0.12, linewidth=0)


def _speedup(plt: Any, results: Results, table: list[Line], styles: dict[str, dict[str, Any]]) -> Any:
    starts = results.starts
    figure, axis = plt.subplots(figsize=(9, 1.3 + 0.42 * len(starts)), layout="constrained")
    colors = {size: plt.get_cmap("viridis")(i / max(1, len(results.sizes) - 1)) for i, size in enumerate(results.sizes)}
    never = 0.4 * min(1.0, *(line.race.speed_up or 1.0 for line in table))
    for y, start in enumerate(reversed(starts)):
        for line in (line for line in table if line.start == start):
            height = y + 0.6 * (0.5 - results.sizes.index(line.size) / max(1, len(colors) - 1))  # none hides another
            speed = line.race.speed_up
            face = colors[line.size] if speed else "none"
            marker = ">" if line.race.at_once else "o"
            axis.scatter(
                speed or never, height, s=45, marker=marker, facecolor=face, edgecolor=colors[line.size], zorder=3
            )
    for size, color in colors.items():
        axis.scatter([], [], color=[color], label=str(size))
    axis.scatter([], [], facecolor="none", edgecolor="0.3", label="not reached")
    axis.scatter([], [], marker=">", color="0.3", label="before step 1")
    axis.set_xscale("log")
    axis.axvline(1, color="0.4", linewidth=1)
    axis.set_yticks(range(len(starts)), list(reversed(starts)))
    for tick, start in zip(axis.get_yticklabels(), reversed(starts), strict=True):
        tick.set(color=styles[start]["color"], fontweight="bold" if start in results.ours else "normal")
    axis.set(xlabel="steps of scratch / steps of this start, to scratch's final score", title="Speed-up, by size")
    axis.grid(alpha=0.3)
    _legend(figure, [axis])
    return figure


def _quality(plt: Any, results: Results, table: list[Line], styles: dict[str, dict[str, Any]]) -> Any:
    figure, axis = plt.subplots(figsize=(10, 6.5), layout="constrained")
    for start in results.starts:
        own = sorted((line for line in table if line.start == start), key=lambda line: line.parameters)
        xs, ys = [line.parameters / 1e6 for line in own], [_shown(results, line.test.mean) for line in own]
        errors = [_shown(results, line.test.std) for line in own]
        axis.errorbar(xs, ys, yerr=errors, label=start, markersize=6, capsize=2, **styles[start])
    long: dict[int, list[Outcome]] = {}
    for outcome in results.reference:
        long.setdefault(outcome.parameters, []).append(outcome)
    points = sorted((n / 1e6, mean(_shown(results, o.test[results.metric]) for o in os)) for n, os in long.items())
    axis.plot(*zip(*points, strict=True), color=GREY, linewidth=2.5, alpha=0.7, label="scratch, long", zorder=1)
    axis.margins(y=0.1)
    _plain_log(axis, [line.parameters / 1e6 for line in table])
    _mark_ancestors(axis, results)
    axis.set(xlabel="parameters, millions", ylabel=_label(results, "test split"), title="After the short training")
    axis.grid(alpha=0.3, which="both")
    _legend(figure, [axis])
    return figure


def _mark_ancestors(axis: Any, results: Results) -> None:
    """A star for each, and one text for those whose texts would cover each other; the scale is logarithmic by now."""
    places = {a.name: (a.parameters / 1e6, _shown(results, a.test[results.metric])) for a in results.ancestors}
    for place in places.values():
        axis.scatter(*place, marker="*", s=260, color="gold", edgecolor="black", zorder=4)
    (left, right), (low, high) = axis.get_xlim(), axis.get_ylim()
    texts: dict[tuple[float, float], list[str]] = {}
    for name, (x, y) in places.items():
        place = next((p for p in texts if p[0] == x and abs(p[1] - y) < 0.06 * (high - low)), (x, y))
        texts.setdefault(place, []).append(name)
    for (x, y), names in texts.items():
        box = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1}
        across = log(x / left) / log(right / left)
        side = "left" if across < 0.25 else "right" if across > 0.75 else "center"  # away from the frame
        text = fill(", ".join(names), 40, break_on_hyphens=False)
        axis.annotate(text, (x, y), (0, 12), textcoords="offset points", ha=side, bbox=box, zorder=5)


def _plain_log(axis: Any, values: list[float]) -> None:
    """A logarithmic axis with ticks at the values themselves, where there is room for them."""
    low, *others = sorted(set(values))
    room = (max(values) / low) ** 0.06
    ticks = [low]
    for value in others:
        if value >= ticks[-1] * room:
            ticks.append(value)
    axis.set_xscale("log")
    axis.set_xticks(ticks, [f"{value:.2g}" for value in ticks])
    axis.set_xticks([], minor=True)


def _cost(plt: Any, results: Results, table: list[Line], styles: dict[str, dict[str, Any]]) -> Any:
    figure, axis = plt.subplots(figsize=(10, 5.2), layout="constrained")
    sizes = results.sizes
    long = [mean(o.points[-1].flops for o in results.reference if o.size == size) for size in sizes]
    axis.plot(range(len(sizes) + 1), _sums(0.0, long), color=GREY, linewidth=2.5, label="scratch, long")
    sums: dict[str, list[float]] = {}
    alike: dict[tuple[str, ...], list[str]] = {}
    for start in results.starts:
        own = {line.size: line for line in table if line.start == start}
        if start == SCRATCH or len(own) < len(sizes):
            continue  # a sum over other sizes says nothing
        costs = [own[size].total - own[size].outcomes[0].once.flops / len(sizes) for size in sizes]
        sums[start] = _sums(own[sizes[0]].outcomes[0].once.flops, costs)
        alike.setdefault(tuple(f"{x:.2g}" for x in sums[start]), []).append(start)
    for starts in alike.values():  # equal lines would hide each other
        first = starts[0]
        axis.plot(
            range(len(sizes) + 1),
            sums[first],
            label=fill(", ".join(starts), 32, break_on_hyphens=False),
            markersize=5,
            **styles[first],
        )
    axis.set_xticks(range(len(sizes) + 1), ["learngene", *(f"+ {size}" for size in sizes)], rotation=20)
    axis.set(ylabel="10¹² FLOPs, ancestor included", title="Cost of all sizes (starts that give every size)")
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    _legend(figure, [axis])
    return figure


def _sums(first: float, costs: list[float]) -> list[float]:
    sums = [first]
    for cost in costs:
        sums.append(sums[-1] + cost)
    return [x / 1e12 for x in sums]


def _legend(figure: Any, axes: list[Any]) -> None:
    """One legend for all panels, outside of them."""
    entries: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    figure.legend(entries.values(), entries.keys(), loc="outside right center", frameon=False, handlelength=3)
