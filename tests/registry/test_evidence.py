"""What benches measured stands with the learngene: numbers that search sees, and the report's files."""

from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipelines.bench import evidence as bench
from pipelines.bench.results import Outcome, Point, Results
from pipelines.bench.run import owners
from pipelines.bench.trials import Plan
from pipelines.recipe.recipe import Recipe
from pipelines.recipe.stages import Registered
from registry.entries import find_entry
from registry.evidence import evidence_of, speed_text
from registry.register import log_evidence, register
from registry.server import tracking_uri
from zoo import Size
from zoo.errors import BadInputError

MakeLearngene = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("ready_home")


def measured(end: float) -> Results:
    """One short training that ends at `end`, where scratch has 0.5 after 100 steps."""

    def outcome(start: str, first: float, last: float, steps: int) -> Outcome:
        points = (Point(step=0, flops=0.0, score=first), Point(step=steps, flops=10.0 * steps, score=last))
        size, test = Size(depth=1, width=8), {"accuracy": last}
        return Outcome(start=start, size=size, seed=0, parameters=9, points=points, test=test, seconds=1.0)

    return Results(
        name="b",
        metric="accuracy",
        reference=(outcome("scratch", 0.1, 0.5, 100),),
        outcomes=(outcome("front", 0.1, end, 10),),
        skipped=(),
        ancestors=(),
        ours=("front",),
        rates={},
        about={},
    )


@pytest.fixture
def report(tmp_path: Path) -> Path:
    folder = tmp_path / "report"
    (folder / "ready").mkdir(parents=True)
    (folder / "RESULTS.md").write_text("# pico\n", encoding="utf-8")
    return folder


def test_numbers_and_files_stand_with_the_entry(learngene: MakeLearngene, report: Path) -> None:
    entry = register(learngene(), "pico", metrics={"accuracy": 0.5})
    again = log_evidence(entry, {"bench/b/front/1x8/score": 0.6}, report, "bench/b")
    assert again.metrics == {**entry.metrics, "bench/b/front/1x8/score": 0.6}
    client = MlflowClient(tracking_uri())
    version = client.get_model_version("pico", "1")
    assert version.run_id
    assert [file.path for file in client.list_artifacts(version.run_id, "bench/b")] == ["bench/b/RESULTS.md"]


def test_a_second_bench_replaces_its_own_numbers_only(learngene: MakeLearngene, report: Path) -> None:
    entry = register(learngene(), "pico", metrics={})
    log_evidence(entry, {"bench/a/front/1x8/score": 0.1, "bench/b/front/1x8/score": 0.2}, report, "bench/a")
    later = log_evidence(entry, {"bench/a/front/1x8/score": 0.3}, report, "bench/a")
    assert later.metrics["bench/a/front/1x8/score"] == 0.3
    assert later.metrics["bench/b/front/1x8/score"] == 0.2


def test_a_bench_that_no_longer_reaches_scratch_takes_its_speed_up_back(learngene: MakeLearngene, report: Path) -> None:
    entry = register(learngene(), "pico", metrics={})
    place = "bench/b/front/1x8"
    bench.log_evidence(measured(0.9), {"front": entry}, report)
    assert find_entry(entry.ref).metrics[f"{place}/speed_up"] == pytest.approx(20)
    bench.log_evidence(measured(0.3), {"front": entry}, report)
    numbers = find_entry(entry.ref).metrics
    assert {what: numbers[f"{place}/{what}"] for what in ("accuracy", "reference", "speed_up")} == {
        "accuracy": 0.3,
        "reference": 0.5,
        "speed_up": 0.0,
    }


def test_a_start_that_was_there_before_any_step_has_a_censored_speed_up(learngene: MakeLearngene, report: Path) -> None:
    entry = register(learngene(), "pico", metrics={})
    at_once = measured(0.9).outcomes[0]
    first, last = at_once.points
    at_once = at_once.model_copy(update={"points": (first.model_copy(update={"score": 0.6}), last)})
    for outcome, text in ((at_once, "≥ 100"), (measured(0.9).outcomes[0], "20.0")):
        bench.log_evidence(measured(0.9).model_copy(update={"outcomes": (outcome,)}), {"front": entry}, report)
        (row,) = evidence_of(find_entry(entry.ref).metrics)
        assert (speed_text(row.numbers), row.metric) == (text, "accuracy")


def test_a_start_from_an_entry_of_the_registry_has_its_evidence_there(learngene: MakeLearngene) -> None:
    entry = register(learngene(), "pico", metrics={})
    stage = {"run": "condense", "weights": {"entry": "pico:1"}}
    recipe = {"name": "b", "family": "vit", "data": {"kind": "digits"}, "stages": {"other": stage}}
    plan = Plan(Recipe.model_validate(recipe), {}, learngenes={"front": Registered(entry="pico:1")})
    assert {name: owner.ref for name, owner in owners(plan, []).items()} == {"front": entry.ref}


def test_no_file_is_left_in_the_working_directory(
    learngene: MakeLearngene, report: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    log_evidence(register(learngene(), "pico", metrics={}), {"bench/b/front/1x8/score": 0.6}, report, "bench/b")
    assert not list(here.iterdir())


def test_a_number_that_is_none_is_refused(learngene: MakeLearngene, report: Path) -> None:
    entry = register(learngene(), "pico", metrics={})
    with pytest.raises(BadInputError, match="nan is not legal"):
        log_evidence(entry, {"bench/b/front/1x8/score": float("nan")}, report, "bench/b")
