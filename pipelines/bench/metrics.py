"""What results mean: how early a start reaches scratch's final score, what that saves, who is ahead."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from statistics import mean, median, stdev

from pipelines.bench.results import SCRATCH, Cost, Metric, Outcome, Results
from zoo.size import Size


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation over `n` seeds (0 for one seed)."""

    mean: float
    std: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of at least one value."""
        return cls(mean(values), stdev(values) if len(values) > 1 else 0.0, len(values))


@dataclass(frozen=True)
class Race:
    """One start against scratch's long training at one size: medians over the seeds.

    speed_up: scratch's steps to its own final score, over those of this start, those of a fit for its size included
        (None: no more than half of the seeds reached it); `at_once` where most were there before any step, which
        counts as one step.
    amortised: the same in FLOPs, with what the learngene cost, shared by the sizes of the bench.
    saved, saved_amortised: the share of scratch's FLOPs that is saved (negative: more is spent), with what was spent
        for the size alone, and with the share of the learngene too.
    reached: how many of the `seeds` reached it; one whose training diverged has not.
    """

    speed_up: float | None
    amortised: float | None
    saved: float | None
    saved_amortised: float | None
    at_once: bool
    reached: int
    seeds: int


@dataclass(frozen=True)
class Line:
    """One start at one size, over all seeds.

    before, after: scores on held-out training samples, before the first step and after the last one.
    ahead: of scratch's short training of the same seed (None: it diverged), and the 95 % interval of the mean.
    total: FLOPs of the short training, of its size's fit, and the size's share of the learngene's cost.
    """

    start: str
    size: Size
    parameters: int
    before: Spread
    after: Spread
    test: Spread
    ahead: Spread | None
    interval: tuple[float, float] | None
    race: Race
    total: float
    outcomes: tuple[Outcome, ...]


def sign(metric: Metric) -> int:
    """1 where more is better, -1 where less is."""
    return 1 if metric == "accuracy" else -1


def lines(results: Results) -> list[Line]:
    """Every start at every size, in the bench's order."""
    groups: dict[tuple[str, Size], list[Outcome]] = {}
    for outcome in results.outcomes:
        groups.setdefault((outcome.start, outcome.size), []).append(outcome)
    return [_line(results, group) for group in groups.values()]


def long_scores(results: Results) -> dict[Size, Spread]:
    """The test scores of scratch's long training at every size."""
    scores: dict[Size, list[float]] = {}
    for outcome in results.reference:
        scores.setdefault(outcome.size, []).append(outcome.test[results.metric])
    return {size: Spread.of(values) for size, values in scores.items()}


def reach(outcome: Outcome, target: float, metric: Metric) -> Cost | None:
    """Steps and FLOPs until the curve is first at `target`, linear between points; None if it never is."""
    s = sign(metric)
    first = outcome.points[0]
    if s * first.score >= s * target:
        return Cost(steps=first.step, flops=first.flops)
    for a, b in pairwise(outcome.points):
        if s * b.score >= s * target:
            share = (target - a.score) / (b.score - a.score)
            return Cost(steps=round(a.step + share * (b.step - a.step)), flops=a.flops + share * (b.flops - a.flops))
    return None


def _line(results: Results, group: list[Outcome]) -> Line:
    metric, start, size = results.metric, group[0].start, group[0].size
    scratch = [o for o in results.outcomes if o.start == SCRATCH and o.size == size]
    gaps = [sign(metric) * gap for gap in paired(group, scratch, metric)]
    sizes = len(results.sizes)
    return Line(
        start=start,
        size=size,
        parameters=group[0].parameters,
        before=Spread.of([o.points[0].score for o in group]),
        after=Spread.of([o.points[-1].score for o in group]),
        test=Spread.of([o.test[metric] for o in group]),
        ahead=Spread.of(gaps) if gaps else None,
        interval=_interval(gaps),
        race=_race(results, group),
        total=mean(o.once.flops / sizes + o.per_size.flops + o.points[-1].flops for o in group),
        outcomes=tuple(group),
    )


def _race(results: Results, group: list[Outcome]) -> Race:
    reference = {o.seed: o for o in results.reference if o.size == group[0].size}
    times: list[float] = []
    costs: list[tuple[float, float]] = []
    at_once = 0
    for outcome in group:
        rival = reference[outcome.seed]
        target = rival.points[-1].score
        theirs, ours = _race_of(rival, target, results.metric), _race_of(outcome, target, results.metric)
        assert theirs is not None
        if ours is None:
            times.append(0.0)
            costs.append((float("inf"), float("inf")))
            continue
        at_once += not outcome.per_size.steps and reach(outcome, target, results.metric) == Cost()
        times.append(theirs.steps / (ours.steps + outcome.per_size.steps))
        here = ours.flops + outcome.per_size.flops
        costs.append((here / theirs.flops, (here + outcome.once.flops / len(results.sizes)) / theirs.flops))
    seeds, reached = len(reference), sum(time > 0 for time in times)
    if 2 * reached <= seeds:
        return Race(None, None, None, None, False, reached, seeds)
    diverged = seeds - len(group)
    costs += diverged * [(float("inf"), float("inf"))]
    alone, amortised = (median(column) for column in zip(*costs, strict=True))
    speed_up = median([*times, *diverged * [0.0]])
    return Race(speed_up, 1 / amortised, 1 - alone, 1 - amortised, 2 * at_once > seeds, reached, seeds)


def _race_of(outcome: Outcome, target: float, metric: Metric) -> Cost | None:
    """What is counted of the way to `target`: at least one step."""
    cost, last = reach(outcome, target, metric), outcome.points[-1]
    if cost is None or cost.steps >= 1:
        return cost
    return Cost(steps=1, flops=last.flops / last.step)


def paired(ours: Sequence[Outcome], theirs: Sequence[Outcome], metric: Metric) -> list[float]:
    """Differences of the test scores, seed by seed."""
    by_seed = {o.seed: o.test[metric] for o in theirs}
    return [o.test[metric] - by_seed[o.seed] for o in ours if o.seed in by_seed]


def _interval(gaps: list[float]) -> tuple[float, float] | None:
    """The 95 % interval of the mean of paired differences (Student's t); None for fewer than two."""
    if len(gaps) < 2:
        return None
    from scipy.stats import t  # takes a second to import

    half = float(t.ppf(0.975, len(gaps) - 1)) * stdev(gaps) / sqrt(len(gaps))
    return mean(gaps) - half, mean(gaps) + half
