"""Whether a quick bench ranks as the full one: at the sizes and among the starts that both have."""

from pathlib import Path

import pytest

from benchmarks.agreement import agreements, main
from pipelines.bench.results import Metric, Outcome, Point, Results
from zoo import Size

SMALL, LARGE = Size(depth=1, width=8), Size(depth=2, width=8)
POINT = Point(step=1, flops=1.0, score=0.5)


def results(scores: dict[str, float], size: Size = SMALL, metric: Metric = "accuracy") -> Results:
    """One seed, one size."""
    outcomes = tuple(
        Outcome(start=start, size=size, seed=0, parameters=9, points=(POINT,), test={metric: score}, seconds=1.0)
        for start, score in scores.items()
    )
    rest = {"skipped": (), "ancestors": (), "ours": (), "rates": {}, "about": {}}
    return Results.model_validate(
        {"name": "pico", "metric": metric, "reference": outcomes[:1], "outcomes": outcomes, **rest}
    )


@pytest.mark.parametrize(("metric", "best", "place"), [("accuracy", "c", 2), ("eval_loss", "a", 1)])
def test_the_best_of_the_quick_bench_has_a_place_in_the_full_one(metric: Metric, best: str, place: int) -> None:
    full = results({"a": 0.1, "b": 0.4, "c": 0.3, "d": 0.2}, metric=metric)
    quick = results({"a": 0.1, "b": 0.3, "c": 0.4, "e": 0.2}, metric=metric)
    (found,) = agreements(full, quick)
    assert (found.quick, found.place, found.starts) == (best, place, 3)
    assert found.correlation == pytest.approx(0.5)
    assert not found.ok


def test_rankings_that_agree_end_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [tmp_path / "full.json", tmp_path / "quick.json"]
    for path, factor in zip(paths, (1.0, 0.5), strict=True):
        path.write_text(results({"a": 0.1 * factor, "b": 0.2 * factor, "c": 0.3 * factor}).model_dump_json())
    assert main([str(path) for path in paths]) == 0
    assert "1.00" in capsys.readouterr().out


def test_benches_without_a_common_size_say_nothing(tmp_path: Path) -> None:
    paths = [tmp_path / "full.json", tmp_path / "quick.json"]
    for path, size in zip(paths, (SMALL, LARGE), strict=True):
        path.write_text(results({"a": 0.1, "b": 0.2}, size).model_dump_json())
    assert main([str(path) for path in paths]) == 1
