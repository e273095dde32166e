"""The results as a report in Markdown."""

from collections.abc import Callable
from statistics import mean

from pipelines.bench.cells import ahead, number, saved, speed, spread, survivors, tera
from pipelines.bench.duels import Duel, duels
from pipelines.bench.metrics import Line, lines, long_scores
from pipelines.bench.plots import PLOTS
from pipelines.bench.results import SCRATCH, Results
from zoo.card import pipe_table


def markdown(results: Results) -> str:
    """The whole report; plots are expected beside it."""
    table = lines(results)
    metric = results.metric
    unit = "in percent" if metric == "accuracy" else "(lower is better)"
    parts = [
        f"# {results.name}",
        _about(results),
        f"## After the short training: {metric} on the test split {unit}",
        "Mean ± standard deviation over the seeds (in brackets how many, where others diverged); ours in bold. The "
        "last row is scratch's long training.",
        _by_size(results, table, lambda line: spread(line.test, metric) + survivors(line), reference=True),
        "## Before training, on held-out training samples",
        _by_size(results, table, lambda line: spread(line.before, metric)),
        "## While training, on held-out training samples",
        "Means over seeds and over the sizes that a start gives, after so much of the short training.",
        _on_the_way(results, table),
        "## Ahead of scratch",
        "Differences to scratch's short training of the same seed on the test split: mean, and its 95 % interval.",
        _by_size(results, table, lambda line: ahead(line, metric), without=SCRATCH),
        "## Speed-up",
        "Steps that scratch needs for the final score of its long training / steps to the same score, those of a fit "
        "included (≥: there before the first step); behind the comma the same in FLOPs, with what the learngene cost, "
        "shared by all sizes. Medians over the seeds; in brackets how many reached it, where not all did.",
        _by_size(results, table, speed),
        "## FLOPs saved on the way to scratch's final score",
        "Without and with the share of what the learngene cost; negative where more is spent.",
        _by_size(results, table, saved),
        *_against_baselines(results, duels(results, table)),
        "## What was spent",
        "In 10¹² FLOPs, means over the sizes; seconds are those of one training, on a machine that may be shared.",
        _costs(results, table),
        *(["## Learning rates, chosen on held-out training samples", _rates(results)] if results.rates else []),
        *(["## Left out", _skipped(results)] if results.skipped else []),
        *(f"![{name}]({name}.png)" for name in PLOTS),
    ]
    return "\n\n".join(parts) + "\n"


def _by_size(
    results: Results, table: list[Line], cell: Callable[[Line], str], *, reference: bool = False, without: str = ""
) -> str:
    cells = {(line.start, line.size): cell(line) for line in table}
    parameters = {outcome.size: outcome.parameters for outcome in results.reference}
    head = ["start", *(f"{size} ({parameters[size] / 1e6:.2f} M)" for size in results.sizes)]
    rows = [
        [_name(results, start), *(cells.get((start, size), "-") for size in results.sizes)]
        for start in results.starts
        if start != without
    ]
    if reference:
        rows.append(["scratch, long", *(spread(value, results.metric) for value in long_scores(results).values())])
    return pipe_table(head, rows)


def _name(results: Results, start: str) -> str:
    return f"**{start}**" if start in results.ours else start


def _on_the_way(results: Results, table: list[Line]) -> str:
    steps = [point.step for point in results.outcomes[0].points]
    rows: list[list[str]] = []
    for start in results.starts:
        own = [line for line in table if line.start == start]
        curves = [[point.score for point in outcome.points] for line in own for outcome in line.outcomes]
        scores = [number(mean(column), results.metric) for column in zip(*curves, strict=True)]
        rows.append([_name(results, start), str(len(own)), *scores])
    return pipe_table(["start", "sizes", *(f"{100 * step / steps[-1]:.0f} %" for step in steps)], rows)


def _against_baselines(results: Results, found: list[Duel]) -> list[str]:
    """A section, where there is a baseline."""
    if not found:
        return []
    metric = results.metric
    rows = [
        (
            str(duel.size),
            *(f"{line.start}: {spread(line.test, metric)} ({tera(line.total)})" for line in (duel.ours, duel.baseline)),
            spread(duel.lead, metric) if duel.lead else "-",
            ("ahead" if duel.won else "**behind**") + ("" if duel.equal else ", **and dearer**"),
        )
        for duel in found
    ]
    return [
        "## Ours and the baselines, at equal total cost",
        "The best baseline of every size, and the best of ours among those that cost no more in total (in brackets, "
        "10¹² FLOPs: training, the size's fit, its share of the learngene), both chosen by held-out training samples "
        "and compared on the test split; all train for the same number of steps.",
        pipe_table(["size", "best of ours", "best baseline", "lead, paired", "ours is"], rows),
    ]


def _costs(results: Results, table: list[Line]) -> str:
    rows = []
    for start in results.starts:
        own = [line for line in table if line.start == start]
        outcomes = [outcome for line in own for outcome in line.outcomes]
        once = outcomes[0].once
        cells = (
            tera(once.flops),
            f"{once.steps:,}",
            tera(mean(o.per_size.flops for o in outcomes)),
            f"{mean(o.per_size.steps for o in outcomes):.0f}",
            tera(mean(o.points[-1].flops for o in outcomes)),
            tera(mean(line.total for line in own)),
            f"{mean(o.seconds for o in outcomes):.0f}",
        )
        rows.append((_name(results, start), str(len(own)), *cells))
    spent = ["learngene, once", "its steps", "for a size", "its steps", "training", "in total per size"]
    return pipe_table(["start", "sizes", *spent, "seconds"], rows)


def _rates(results: Results) -> str:
    sizes = [str(size) for size in results.sizes]
    rows = [
        [_name(results, start), *(f"{rates[size]:g}" if size in rates else "-" for size in sizes)]
        for start, rates in results.rates.items()
    ]
    return pipe_table(["start", *sizes], rows)


def _skipped(results: Results) -> str:
    by_reason: dict[tuple[str, str], list[str]] = {}
    for row in results.skipped:
        by_reason.setdefault((row.start, row.why), []).append(str(row.size))
    return pipe_table(["start", "sizes", "why"], [(s, ", ".join(sizes), why) for (s, why), sizes in by_reason.items()])


def _about(results: Results) -> str:
    facts = [f"- **{name}**: {value}" for name, value in results.about.items()]
    for ancestor in results.ancestors:
        score = number(ancestor.test[results.metric], results.metric)
        facts.append(f"- **{ancestor.name}** ({ancestor.size}, {ancestor.parameters:,} parameters): {score}")
    return "\n".join(facts)
