"""Everything that a bench leaves in its folder."""

import csv
from collections.abc import Iterator
from pathlib import Path

from pipelines.bench import plots
from pipelines.bench.results import Outcome, Results
from pipelines.bench.table import markdown
from zoo.files import write_json

RESULTS = "results.json"
READY = "ready"
FILES = (RESULTS, "RESULTS.md", "results.csv", *(f"{name}.png" for name in plots.PLOTS), READY)
"""All that a bench's folder holds."""


def write(results: Results, folder: Path) -> None:
    """Write `RESULTS.md`, `results.json` (`Results`), `results.csv` (one row a point of a curve) and the plots."""
    write_json(folder / RESULTS, results.model_dump(mode="json"))
    (folder / "RESULTS.md").write_text(markdown(results), encoding="utf-8")
    rows = [*_rows(results, results.outcomes, "short"), *_rows(results, results.reference, "reference")]
    with (folder / "results.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    plots.draw(results, folder)


def _rows(results: Results, outcomes: tuple[Outcome, ...], kind: str) -> Iterator[dict[str, object]]:
    for o in outcomes:
        for point in o.points:
            yield {
                "bench": results.name,
                "start": o.start,
                "ours": o.start in results.ours,
                "size": str(o.size),
                **o.size.model_dump(),
                "parameters": o.parameters,
                "seed": o.seed,
                "kind": kind,
                "step": point.step,
                "flops": point.flops,
                "metric": results.metric,
                "score": point.score,
                "test": o.test[results.metric],
                "once_flops": o.once.flops,
                "per_size_flops": o.per_size.flops,
                "seconds": o.seconds,
            }
