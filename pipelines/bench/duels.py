"""Who is ahead at equal total cost: the best of ours, or the best of the baselines."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.bench.metrics import Line, Spread, paired, sign
from pipelines.bench.results import SCRATCH, Results
from zoo.size import Size

EQUAL = 1.05
"""Total costs within this ratio count as equal."""


@dataclass(frozen=True)
class Duel:
    """The best baseline at one size against the best of ours that costs no more in total, by held-out samples.

    equal: there is one of ours that costs no more; else `ours` is the best of all, and dearer.
    lead: of ours, paired by seed (None: no seed in common, where trainings diverged).
    won: the mean test score of ours is better.
    """

    size: Size
    ours: Line
    baseline: Line
    equal: bool
    won: bool
    lead: Spread | None


def duels(results: Results, table: Sequence[Line]) -> list[Duel]:
    """One for every size at which both ours and baselines take part."""
    found: list[Duel] = []
    s = sign(results.metric)
    for size in results.sizes:
        here = [line for line in table if line.size == size and line.start != SCRATCH]  # chosen by held-out samples
        ours = [line for line in here if line.start in results.ours]
        baselines = [line for line in here if line.start not in results.ours]
        if not ours or not baselines:
            continue
        theirs = max(baselines, key=lambda line: s * line.after.mean)
        affordable = [line for line in ours if line.total <= EQUAL * theirs.total]
        chosen = max(affordable or ours, key=lambda line: s * line.after.mean)
        lead = [s * gap for gap in paired(chosen.outcomes, theirs.outcomes, results.metric)]
        won = s * chosen.test.mean > s * theirs.test.mean
        found.append(Duel(size, chosen, theirs, bool(affordable), won, Spread.of(lead) if lead else None))
    return found
