"""The results as text: a Markdown report, and a short table for the terminal."""

from collections.abc import Callable, Iterable, Sequence
from statistics import mean, median

from rich.box import SIMPLE_HEAD
from rich.table import Table

from pipelines.bench.metrics import Duel, Line, Race, Spread, duels, lines
from pipelines.bench.results import SCRATCH, Metric, Results

NEVER = "not reached"


def markdown(results: Results) -> str:
    """The whole report; plots are expected beside it."""
    table = lines(results)
    metric = results.metric
    unit = "in percent" if metric == "accuracy" else "(lower is better)"
    parts = [
        f"# {results.name}",
        _about(results),
        f"## After the short training: {metric} on the test split {unit}",
        "Mean ± standard deviation over the seeds; ours in bold. The last row is scratch's long training.",
        _by_size(results, table, lambda line: spread(line.test, metric), reference=True),
        "## Before training, on held-out training samples",
        _by_size(results, table, lambda line: spread(line.before, metric)),
        "## Ahead of scratch",
        "Differences to scratch's short training of the same seed on the test split: mean, and its 95 % interval.",
        _by_size(results, table, lambda line: _ahead(line, metric), without=SCRATCH),
        "## Speed-up",
        "Steps that scratch needs for the final score of its long training / steps to the same score (≥: there before "
        "the first step); behind the comma the same in FLOPs, with the start's own cost shared by all sizes.",
        _by_size(results, table, lambda line: _speed(line.race)),
        "## FLOPs saved on the way to scratch's final score",
        "Without and with the start's own cost; negative where more is spent.",
        _by_size(results, table, lambda line: _saved(line.race)),
        "## Ours and the baselines, at equal total cost",
        _duels(results, duels(results, table)),
        "## What was spent (10¹² FLOPs)",
        _costs(results, table),
        *(["## Left out", _skipped(results)] if results.skipped else []),
        *(f"![{name}]({name}.png)" for name in ("curves", "speedup", "quality", "cost")),
    ]
    return "\n\n".join(parts) + "\n"


def summary(results: Results) -> Table:
    """For the terminal: one row a start, the best first."""
    table, won = lines(results), _won(results)
    shown = Table("start", "sizes", results.metric, "speed-up (median)", "best at", box=SIMPLE_HEAD, title=results.name)
    rows: list[tuple[float, tuple[str, ...]]] = []
    for start in results.starts:
        own = [line for line in table if line.start == start]
        speeds = [line.race.speed_up or 0.0 for line in own]
        gap = mean(line.ahead.mean for line in own)
        score = number(mean(line.test.mean for line in own), results.metric)
        speed = f"{median(speeds):.1f}" if median(speeds) else NEVER
        name = f"[bold]{start}[/]" if start in results.ours else start
        rows.append((gap, (name, str(len(own)), score, speed, ", ".join(won.get(start, [])))))
    for _, row in sorted(rows, key=lambda pair: -pair[0]):
        shown.add_row(*row)
    return shown


def number(value: float, metric: Metric) -> str:
    """Accuracy in percent, a loss with three decimals."""
    return f"{100 * value:.1f}" if metric == "accuracy" else f"{value:.3f}"


def spread(value: Spread, metric: Metric) -> str:
    """Mean and standard deviation."""
    return f"{number(value.mean, metric)} ± {number(value.std, metric)}"


def pipe_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    body = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"| {' | '.join(head)} |\n|{'---|' * len(head)}\n{body}"


def _won(results: Results) -> dict[str, list[str]]:
    """The sizes at which a start has the best mean score, by start."""
    won: dict[str, list[str]] = {}
    table = lines(results)
    for size in results.sizes:
        here = [line for line in table if line.size == size]
        best = max(here, key=lambda line: line.ahead.mean)
        won.setdefault(best.start, []).append(str(size))
    return won


def _by_size(
    results: Results, table: list[Line], cell: Callable[[Line], str], *, reference: bool = False, without: str = ""
) -> str:
    cells = {(line.start, line.size): cell(line) for line in table}
    parameters = {line.size: line.parameters for line in table}
    head = ["start", *(f"{size} ({parameters[size] / 1e6:.2f} M)" for size in results.sizes)]
    rows = [
        [_name(results, start), *(cells.get((start, size), "-") for size in results.sizes)]
        for start in results.starts
        if start != without
    ]
    if reference:
        scores = [[o.test[results.metric] for o in results.reference if o.size == size] for size in results.sizes]
        rows.append(["scratch, long", *(spread(Spread.of(values), results.metric) for values in scores)])
    return pipe_table(head, rows)


def _name(results: Results, start: str) -> str:
    return f"**{start}**" if start in results.ours else start


def _ahead(line: Line, metric: Metric) -> str:
    text = f"{'+' if line.ahead.mean >= 0 else ''}{number(line.ahead.mean, metric)}"
    if line.interval is None:
        return text
    low, high = (number(end, metric) for end in line.interval)
    return f"{text} ({low} to {high})"


def _speed(race: Race) -> str:
    if race.speed_up is None or race.amortised is None:
        return NEVER
    return f"{'≥ ' if race.at_once else ''}{race.speed_up:.1f}, {race.amortised:.2f}"


def _saved(race: Race) -> str:
    if race.saved is None or race.saved_amortised is None:
        return NEVER
    return f"{100 * race.saved:.0f} %, {100 * race.saved_amortised:.0f} %"


def _duels(results: Results, found: list[Duel]) -> str:
    metric = results.metric
    rows = [
        (
            str(duel.size),
            f"{duel.ours.start}: {spread(duel.ours.test, metric)}",
            f"{duel.baseline.start}: {spread(duel.baseline.test, metric)}",
            f"{spread(duel.lead, metric)}",
            "ahead" if duel.lead.mean > 0 else "**behind**",
        )
        for duel in found
    ]
    return pipe_table(["size", "best of ours", "best baseline", "lead, paired", "ours is"], rows)


def _costs(results: Results, table: list[Line]) -> str:
    rows = []
    for start in results.starts:
        own = [line for line in table if line.start == start]
        outcomes = [outcome for line in own for outcome in line.outcomes]
        once, sizes = outcomes[0].once, len(own)
        fit = mean(o.per_size.flops for o in outcomes)
        training = mean(o.points[-1].flops for o in outcomes)
        cells = (f"{once.flops / 1e12:.1f}", f"{once.steps:,}", f"{fit / 1e12:.2f}", f"{training / 1e12:.2f}")
        total = mean(line.total for line in own)
        rows.append((_name(results, start), str(sizes), *cells, f"{total / 1e12:.2f}"))
    head = ["start", "sizes", "learngene, once", "its steps", "per size", "training (mean)", "in total per size"]
    return pipe_table(head, rows)


def _skipped(results: Results) -> str:
    by_reason: dict[tuple[str, str], list[str]] = {}
    for row in results.skipped:
        by_reason.setdefault((row.start, row.why), []).append(str(row.size))
    return pipe_table(["start", "sizes", "why"], [(s, ", ".join(sizes), why) for (s, why), sizes in by_reason.items()])


def _about(results: Results) -> str:
    facts = [f"- **{name}**: {value}" for name, value in results.about.items()]
    rates = ", ".join(f"{rate:g} at {size}" for size, rate in results.rates.items())
    facts.append(f"- **learning rate chosen for {SCRATCH}**: {rates}")
    for ancestor in results.ancestors:
        score = number(ancestor.test[results.metric], results.metric)
        facts.append(f"- **{ancestor.name}** ({ancestor.size}, {ancestor.parameters:,} parameters): {score}")
    return "\n".join(facts)
