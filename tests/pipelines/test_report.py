"""The report of a comparison: means, spreads and the distance to scratch."""

from pathlib import Path

import pytest

from pipelines.compare import Result
from pipelines.report import Report


def result(size: str, start: str, seed: int, score: float) -> Result:
    return Result(size=size, start=start, seed=seed, score=score, curve=[(0, 0.1), (5, score)], parameters=1234)


@pytest.fixture
def report() -> Report:
    scores = {"a": (0.5, 0.6, 0.7), "b": (0.8, 0.8, 0.8), "scratch": (0.1, 0.2, 0.3)}
    results = [
        result(size, start, i, s) for size in ("1x8", "2x8") for start in scores for i, s in enumerate(scores[start])
    ]
    return Report(results)


def test_lines_give_mean_spread_and_distance_in_percent(report: Report) -> None:
    lines = report.lines()
    assert lines[0] == ("1x8", "1,234", "a", "10.0", "60.0 ± 10.0", "+40.0")
    assert lines[2] == ("1x8", "1,234", "scratch", "10.0", "20.0 ± 10.0", "")
    assert len(lines) == 6


def test_the_best_start_is_never_scratch(report: Report) -> None:
    assert report.best_start("2x8") == "b"


def test_everything_is_written(report: Report, tmp_path: Path) -> None:
    report.write(tmp_path, "How it was done.")
    assert {path.name for path in tmp_path.iterdir()} == {"table.md", "results.json", "curves.png"}
    assert (tmp_path / "table.md").read_text(encoding="utf-8").startswith("How it was done.")
