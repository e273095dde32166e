"""One training from one start, in this process: what it notes, what a calibration costs, what divergence leaves."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.artifacts.store import OUTPUT
from pipelines.recipe.recipe import Recipe
from pipelines.stages.common import Job
from pipelines.stages.trial import MODEL, SCORES, Scores, score, trial
from zoo import Checkpoint, Size, condense, read_checkpoint, save_checkpoint
from zoo.families import architecture
from zoo.methods.bot import BoT
from zoo.methods.random import random_start

CONFIG = {"img_size": 8, "patch_size": 4, "in_chans": 1, "num_classes": 10}
SMALL, LARGE = ({"depth": 2, "width": width, "heads": width // 8, "mlp": 32} for width in (16, 32))


def run(work: Path, inputs: dict[str, Path] | None = None, /, **fields: Any) -> Scores:
    training = {"run": "trial", "size": SMALL, "train": {"steps": 4, "batch": 16}, "score_at": [0, 0.5]}
    stage = fields if "run" in fields else training | fields
    recipe = {
        "name": "pico",
        "family": "vit",
        "config": CONFIG,
        "data": {"kind": "digits", "limit": 128, "validation": 0.25},
        "stages": {"it": stage},
    }
    job = Job(recipe=Recipe.model_validate(recipe), name="it", work=work, inputs=inputs or {})
    trial(job) if stage["run"] == "trial" else score(job)
    return Scores.model_validate_json((work / OUTPUT / SCORES).read_text(encoding="utf-8"))


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Path]:
    arch = architecture("vit", CONFIG, Size(**LARGE))
    ancestor = Checkpoint(arch, arch.unstack(random_start(arch, 0)))
    save_checkpoint(tmp_path / "ancestor", ancestor, origin="A test.")
    condense(ancestor, BoT()).save(tmp_path / "start")
    return {name: tmp_path / name for name in ("start", "ancestor")}


def test_a_curve_begins_before_the_first_step_and_the_test_split_is_scored_at_the_end(tmp_path: Path) -> None:
    scores = run(tmp_path / "work")
    assert [point["step"] for point in scores.points] == [0, 2, 4]
    assert scores.points[0]["flops"] == 0 < scores.points[1]["flops"] < scores.points[2]["flops"]
    assert scores.test.keys() == {"accuracy", "eval_loss"}
    assert scores.spent == 0
    assert not (tmp_path / "work" / OUTPUT / MODEL).exists()


def test_the_same_trial_has_the_same_scores(tmp_path: Path) -> None:
    assert run(tmp_path / "one") == run(tmp_path / "two")


def test_a_calibration_changes_the_start_and_its_cost_is_noted(tmp_path: Path, inputs: dict[str, Path]) -> None:
    sources: dict[str, Any] = {"start": {"folder": "x"}, "ancestor": {"folder": "x"}}
    plain = run(tmp_path / "plain", inputs, start=sources["start"])
    mended = run(tmp_path / "mended", inputs, **sources, calibrate={"samples": 64})
    assert mended.points[0] != plain.points[0]
    arch = architecture("vit", CONFIG, Size(**SMALL))
    assert mended.spent > 64 * (arch.flops() + arch.at(Size(**LARGE)).flops())
    assert plain.spent == 0


def test_a_kept_model_is_the_trained_one(tmp_path: Path) -> None:
    scores = run(tmp_path / "work", keep=True)
    kept = tmp_path / "work" / OUTPUT / MODEL
    assert str(read_checkpoint(kept).arch.size) == "2x16"
    again = run(tmp_path / "score", {"weights": kept}, run="score", weights={"folder": "x"})
    assert again.test == pytest.approx(scores.test)


def test_a_training_that_diverges_is_a_result(tmp_path: Path) -> None:
    scores = run(tmp_path / "work", train={"steps": 20, "batch": 16, "lr": 1e30, "clip": None, "warmup": 0})
    assert scores.diverged
    assert "train.lr" in scores.diverged
    assert scores.test == {}
