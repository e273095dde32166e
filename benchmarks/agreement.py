"""Does a quick bench rank the starts as the full one does? Two `results.json`, the sizes and starts that both have.

python -m benchmarks.agreement benchmarks/results/vit-cifar10/results.json quick/results.json
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from numpy import corrcoef
from scipy.stats import rankdata

from pipelines.bench.metrics import lines, sign
from pipelines.bench.results import Results
from zoo.size import Size

TARGET = 0.8
"""Rank correlation (Spearman) from which two rankings count as the same."""


@dataclass(frozen=True)
class Agreement:
    """The rank correlation of `starts` scores at one size; `full` and `quick` are the best starts, `place` is where
    the quick one's best stands in the full ranking (1: it is the best there, too)."""

    size: Size
    starts: int
    correlation: float
    full: str
    quick: str
    place: int

    @property
    def ok(self) -> bool:
        """Whether a reader of the quick table would have chosen alike."""
        return self.correlation >= TARGET


def agreements(full: Results, quick: Results) -> list[Agreement]:
    """One a size that both have, by the scores on the test split."""
    ranked = [_scores(results) for results in (full, quick)]
    return [_agreement(size, *(scores[size] for scores in ranked)) for size in full.sizes if size in quick.sizes]


def _scores(results: Results) -> dict[Size, dict[str, float]]:
    """By size and start; more is better."""
    scores: dict[Size, dict[str, float]] = {}
    for line in lines(results):
        scores.setdefault(line.size, {})[line.start] = sign(results.metric) * line.test.mean
    return scores


def _agreement(size: Size, full: dict[str, float], quick: dict[str, float]) -> Agreement:
    starts = [start for start in full if start in quick]
    ranks = [rankdata([scores[start] for start in starts]) for scores in (full, quick)]
    best, chosen = max(starts, key=full.__getitem__), max(starts, key=quick.__getitem__)
    place = 1 + sum(full[start] > full[chosen] for start in starts)
    return Agreement(size, len(starts), float(corrcoef(*ranks)[0, 1]), best, chosen, place)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 0 where the rankings agree at all sizes."""
    from rich.console import Console
    from rich.table import Table

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("full", type=Path)
    parser.add_argument("quick", type=Path)
    given = parser.parse_args(arguments)
    found = agreements(*(Results.model_validate_json(path.read_bytes()) for path in (given.full, given.quick)))
    table = Table("size", "starts", f"rank correlation (>= {TARGET})", "best", "best when quick", "its place")
    for one in found:
        table.add_row(str(one.size), str(one.starts), f"{one.correlation:.2f}", one.full, one.quick, str(one.place))
    Console().print(table)
    return 0 if found and all(one.ok for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
