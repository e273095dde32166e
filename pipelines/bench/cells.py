"""How the numbers of a bench are written."""

from collections.abc import Mapping
from typing import Any

from pipelines.bench.metrics import Line, Spread
from pipelines.bench.results import Metric
from registry.evidence import speed_text

NEVER = "not reached"


def number(value: float, metric: Metric) -> str:
    """Accuracy in percent, a loss with three decimals."""
    return f"{100 * value:.1f}" if metric == "accuracy" else f"{value:.3f}"


def evidence_cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """A row of evidence (`pipelines.bench.evidence`) as `zoo.card.MEASURED` names its cells."""
    metric: Metric = "eval_loss" if "eval_loss" in row else "accuracy"
    unit = " %" if metric == "accuracy" else ""
    scores = [f"{number(row[x], metric)}{unit}" if x in row else "-" for x in (metric, "scratch", "reference")]
    speed = speed_text(row)
    return row["bench"], row["start"], row["size"], *scores, f"{speed} x" if speed else NEVER


def spread(value: Spread, metric: Metric) -> str:
    """Mean and standard deviation; of one seed, which has none, the score."""
    deviation = f" ± {number(value.std, metric)}" if value.n > 1 else ""
    return number(value.mean, metric) + deviation


def survivors(line: Line) -> str:
    """How many seeds are behind a mean, where some diverged."""
    return f" ({len(line.outcomes)} of {line.race.seeds})" if len(line.outcomes) < line.race.seeds else ""


def ahead(line: Line, metric: Metric) -> str:
    """The difference to scratch's short training, and its interval."""
    if line.ahead is None:
        return "-"
    text = f"{'+' if line.ahead.mean >= 0 else ''}{number(line.ahead.mean, metric)}"
    if line.interval is None:
        return text
    low, high = (number(end, metric) for end in line.interval)
    return f"{text} ({low} to {high})"


def speed(line: Line) -> str:
    """The speed-up, and the amortised one."""
    race = line.race
    some = f" ({race.reached} of {race.seeds})" if 0 < race.reached < race.seeds else ""
    if race.speed_up is None or race.amortised is None:
        return NEVER + some
    return f"{'≥ ' if race.at_once else ''}{ratio(race.speed_up)}, {race.amortised:.2f}{some}"


def saved(line: Line) -> str:
    """The share of FLOPs saved, without and with that of the learngene."""
    race = line.race
    if race.saved is None or race.saved_amortised is None:
        return NEVER
    return f"{100 * race.saved:.0f} %, {100 * race.saved_amortised:.0f} %"


def ratio(value: float) -> str:
    """A factor."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def tera(flops: float) -> str:
    """FLOPs in 10¹²."""
    return f"{flops / 1e12:,.0f}" if flops >= 1e14 else f"{flops / 1e12:.3g}"
