"""`zoo demo`, which is a recipe with a bench: what it writes, that it is true, and what the registry then knows."""

import csv

import pytest
from command_line import Zoo

from pipelines.bench.results import SCRATCH, Results
from zoo import read_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
SIZES = {"3x64", "3x96", "6x64", "6x96"}


@pytest.fixture(scope="module")
def results(zoo: Zoo) -> Results:
    out = zoo.home.with_name("demo")
    answer = zoo.process("demo", "--out", out, "--json")
    results = Results.model_validate(answer.json)
    assert results == Results.model_validate_json((out / "results.json").read_text(encoding="utf-8"))
    return results


def test_every_learngene_is_ahead_of_scratch_at_every_size(results: Results) -> None:
    scores = {(str(o.size), o.start, o.seed): o.test["accuracy"] for o in results.outcomes}
    starts = {"weit", "front", SCRATCH}
    assert scores.keys() >= {(size, start, seed) for size in SIZES for start in starts for seed in (0, 1, 2)}
    for (size, start, seed), score in scores.items():
        assert start == SCRATCH or score > scores[size, SCRATCH, seed], (size, start, seed)


def test_what_a_learngene_cost_is_counted_with_its_ancestor(results: Results) -> None:
    costs = {o.start: o.once.flops for o in results.outcomes}
    assert costs["front"] == costs["selection"] > 0
    assert costs["weit"] > costs["front"]  # it was trained for longer
    assert costs[SCRATCH] == 0


def test_curves_begin_before_the_first_step_and_end_after_the_last(results: Results) -> None:
    for outcome in results.outcomes:
        assert [point.step for point in outcome.points] == [0, 1, 2, 4, 10, 20]
        assert outcome.points[0].flops == 0 < outcome.points[1].flops


def test_tables_plots_and_ready_models_are_there(zoo: Zoo, results: Results) -> None:
    out = zoo.home.with_name("demo")
    assert all(size in (out / "RESULTS.md").read_text(encoding="utf-8") for size in SIZES)
    assert "digits" in results.about["data"]
    for plot in ("curves.png", "speedup.png", "quality.png", "cost.png"):
        assert (out / plot).read_bytes().startswith(b"\x89PNG")
    with (out / "results.csv").open(encoding="utf-8") as file:
        assert {row["start"] for row in csv.DictReader(file)} == {*results.starts}
    ready = {path.name: str(read_checkpoint(path).arch.size) for path in (out / "ready").iterdir()}
    assert ready == {size: size for size in SIZES}


def test_a_second_demo_trains_nothing(zoo: Zoo, results: Results) -> None:
    again = zoo.process("demo", "--out", zoo.home.with_name("demo"), "--json")
    assert Results.model_validate(again.json) == results
    assert ": done" not in again.err


def test_show_says_how_good_a_learngene_is(zoo: Zoo, results: Results) -> None:
    answer = zoo("show", "demo.front")
    assert all(size in answer.out for size in SIZES)
    assert "evidence" in zoo("show", "demo.front", "--json").json


def test_a_folder_with_other_things_in_it_is_not_overwritten(zoo: Zoo) -> None:
    out = zoo.home.with_name("mine")
    out.mkdir()
    (out / "letter.txt").write_text("keep me", encoding="utf-8")
    answer = zoo("demo", "--out", out)
    assert (answer.code, str(out) in answer.err) == (2, True)
    assert [path.name for path in out.iterdir()] == ["letter.txt"]
