"""Evidence in the registry: what a bench measured stands with the learngenes that took part.

Numbers are named `bench/BENCH/START/SIZE/WHAT`: `accuracy` (or `eval_loss`), `scratch` and `reference` are mean test
scores (of this start, of scratch's short and long training), `speed_up` is the report's, 0 where it is not reached;
`censored` is 1 where the report says `≥`: most seeds were there before any step.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.bench.metrics import Line, lines, long_scores
from pipelines.bench.results import SCRATCH, Results
from registry.evidence import PREFIX, evidence_of, is_evidence

if TYPE_CHECKING:
    from registry.entries import Entry


def log_evidence(results: Results, entries: "Mapping[str, Entry]", folder: Path) -> None:
    """Log the scores of every start, and the report in `folder`, to the entry of its learngene."""
    from registry.register import log_evidence as log  # mlflow takes seconds to import

    for start, entry in entries.items():
        log(entry, _numbers(results, start), folder, f"{PREFIX}/{results.name}")


def split_evidence(metrics: Mapping[str, float]) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """An entry's other numbers, and its evidence: rows of `bench`, `start`, `size` and what was measured."""
    others = {name: value for name, value in metrics.items() if not is_evidence(name)}
    found = evidence_of(metrics)
    return others, [{"bench": row.bench, "start": row.start, "size": row.size, **row.numbers} for row in found]


def _numbers(results: Results, start: str) -> dict[str, float]:
    table = {(line.start, line.size): line for line in lines(results)}
    numbers: dict[str, float] = {}
    for (name, size), line in table.items():
        if name == start:
            place = f"{PREFIX}/{results.name}/{start}/{size}"
            numbers |= {f"{place}/{what}": value for what, value in _row(results, table, line).items()}
    return numbers


def _row(results: Results, table: Mapping[Any, Line], line: Line) -> dict[str, float]:
    long = long_scores(results)[line.size]
    # what is not reached is a number as well: it replaces that of an earlier run of the bench
    race = {"speed_up": line.race.speed_up or 0.0, "censored": float(line.race.at_once)}
    row = {results.metric: line.test.mean, "reference": long.mean, **race}
    if (SCRATCH, line.size) in table:
        row["scratch"] = table[SCRATCH, line.size].test.mean
    return row
