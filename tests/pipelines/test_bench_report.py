"""What a bench leaves in its folder, and what the registry keeps of it."""

import csv
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from pipelines.bench.evidence import split_evidence
from pipelines.bench.report import FILES, READY, write
from pipelines.bench.results import Ancestor, Cost, Metric, Outcome, Point, Results, Skipped
from pipelines.bench.summary import summary
from pipelines.bench.table import markdown
from pipelines.show import evidence_table
from zoo import Size

SIZES = [Size(depth=1, width=8), Size(depth=2, width=16)]


def outcome(start: str, size: Size, seed: int, end: float) -> Outcome:
    points = tuple(Point(step=step, flops=1e9 * step, score=score) for step, score in ((0, 0.9), (10, end)))
    test = {"accuracy": end, "eval_loss": end}
    once = Cost(steps=5, flops=2e12 if start != "scratch" else 0.0)
    return Outcome(
        start=start,
        size=size,
        seed=seed,
        parameters=1000 * size.width,
        points=points,
        test=test,
        seconds=1.0,
        once=once,
    )


def make(metric: Metric) -> Results:
    ends = {"scratch": 0.2, "ours": 0.6, "theirs": 0.5}
    return Results(
        name="pico",
        metric=metric,
        reference=tuple(outcome("scratch", size, seed, 0.55) for size in SIZES for seed in (0, 1)),
        outcomes=tuple(
            outcome(start, size, seed, end + 0.01 * seed)
            for start, end in ends.items()
            for size in SIZES
            for seed in (0, 1)
            if (start, size) != ("theirs", SIZES[1])
        ),
        skipped=(Skipped(start="theirs", size=SIZES[1], why="it only shrinks"),),
        ancestors=(
            Ancestor(name="ancestor", size=SIZES[0], parameters=9000, test={"accuracy": 0.7, "eval_loss": 0.4}),
        ),
        ours=("ours",),
        rates={"scratch": {"1x8": 1e-3, "2x16": 2e-3}, "theirs": {"1x8": 5e-4}},
        about={"command": "zoo bench pico.yaml"},
    )


@pytest.mark.parametrize("metric", ["accuracy", "eval_loss"])
def test_results_survive_the_disk_and_every_plot_is_drawn(metric: Metric, tmp_path: Path) -> None:
    results = make(metric)
    write(results, tmp_path)
    assert Results.model_validate_json((tmp_path / "results.json").read_text(encoding="utf-8")) == results
    for plot in ("curves", "speedup", "quality", "cost"):
        assert (tmp_path / f"{plot}.png").read_bytes().startswith(b"\x89PNG")


def test_the_csv_has_a_row_for_every_point(tmp_path: Path) -> None:
    results = make("accuracy")
    write(results, tmp_path)
    with (tmp_path / "results.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(len(o.points) for o in (*results.outcomes, *results.reference))
    (last,) = [r for r in rows if (r["start"], r["size"], r["seed"], r["step"]) == ("ours", "2x16", "1", "10")]
    assert (last["ours"], last["kind"], float(last["test"])) == ("True", "short", 0.61)


def test_the_report_gives_percent_marks_ours_and_says_what_is_left_out() -> None:
    text = markdown(make("accuracy"))
    assert "| **ours** | 60.5 ± 0.7 | 60.5 ± 0.7 |" in text
    assert "| theirs | 50.5 ± 0.7 | - |" in text
    assert "| scratch, long | 55.0 ± 0.0 | 55.0 ± 0.0 |" in text
    assert "| theirs | 2x16 | it only shrinks |" in text
    assert "| 1x8 | ours: 60.5 ± 0.7 (1.01) | theirs: 50.5 ± 0.7 (1.01) | 10.0 ± 0.0 | ahead |" in text


def test_without_a_baseline_there_is_no_comparison_with_baselines() -> None:
    results = make("accuracy")
    assert "Ours and the baselines" in markdown(results)
    assert "Ours and the baselines" not in markdown(results.model_copy(update={"ours": ("ours", "theirs")}))


def test_losses_have_three_decimals_and_the_lower_one_is_ahead() -> None:
    text = markdown(make("eval_loss"))
    assert "| **ours** | 0.605 ± 0.007 | 0.605 ± 0.007 |" in text
    duel = "| 1x8 | ours: 0.605 ± 0.007 (1.01) | theirs: 0.505 ± 0.007 (1.01) | -0.100 ± 0.000 | **behind** |"
    assert duel in text


@pytest.mark.parametrize(
    ("metric", "order"), [("accuracy", "ours theirs scratch"), ("eval_loss", "scratch theirs ours")]
)
def test_the_terminal_lists_the_best_start_first_whichever_way_the_metric_goes(metric: Metric, order: str) -> None:
    console = Console(width=100, file=StringIO(), record=True)
    console.print(summary(make(metric)))
    rows = [line.split() for line in console.export_text().splitlines()]
    assert [row[0] for row in rows if row and row[0] in order.split()] == order.split()


def test_show_gives_an_accuracy_in_percent_and_a_loss_as_it_is() -> None:
    console = Console(width=120, file=StringIO(), record=True)
    place = {"bench": "b", "start": "front", "size": "1x8"}
    good = {"accuracy": 0.6, "scratch": 0.2, "reference": 0.55, "speed_up": 12.0}
    console.print(evidence_table([place | good, place | {"eval_loss": 1.5, "reference": 1.2, "speed_up": 0.0}]))
    text = " ".join(console.export_text().split())
    assert "60.0 % 20.0 % 55.0 % 12.0 x" in text
    assert "1.500 - 1.200 not reached" in text


def test_evidence_is_told_apart_from_an_entrys_other_numbers() -> None:
    others, evidence = split_evidence(
        {"accuracy": 0.5, "bench/b/front/1x8/accuracy": 0.6, "bench/b/front/1x8/scratch": 0.2}
    )
    assert others == {"accuracy": 0.5}
    assert evidence == [{"bench": "b", "start": "front", "size": "1x8", "accuracy": 0.6, "scratch": 0.2}]


def test_a_bench_may_replace_all_that_it_wrote(tmp_path: Path) -> None:
    write(make("accuracy"), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*FILES} - {READY}
