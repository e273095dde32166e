"""Which models of a bench are kept: of the first seed, and chosen without the test split."""

from pathlib import Path

import pytest

from pipelines.artifacts.store import OUTPUT, Store
from pipelines.bench.results import Outcome, Point, Results
from pipelines.bench.run import keep_ready
from pipelines.bench.trials import Plan, trials
from pipelines.recipe.identity import stage_keys
from pipelines.recipe.recipe import Recipe
from pipelines.stages.trial import MODEL
from zoo import Size

SIZE = Size(depth=2, width=32, heads=2)


@pytest.fixture
def planned() -> Plan:
    weights = {"weights": {"stage": "ancestor"}}
    content = {
        "name": "pico",
        "family": "vit",
        "config": {"img_size": 8, "patch_size": 4, "in_chans": 1, "num_classes": 10},
        "data": {"kind": "digits"},
        "stages": {"ancestor": {"run": "pretrain", "size": SIZE, "train": {"steps": 4}}},
        "bench": {
            "sizes": [SIZE],
            "seeds": [0, 1],
            "train": {"steps": 5},
            "reference": {"steps": 50, "lr": [1e-3]},
            "keep": True,
            "starts": {name: weights | {"method": {"name": name}} for name in ("front", "bot")},
        },
    }
    recipe = Recipe.model_validate(content)
    assert recipe.bench
    return trials(recipe, recipe.bench, {})


@pytest.fixture
def store(planned: Plan, tmp_path: Path) -> Store:
    """Models of the first seed, each with the name of its start in it."""
    store, keys = Store(tmp_path / "store"), stage_keys(planned.recipe)
    for cell in planned.cells:
        if cell.start != "scratch" and cell.seed == 0:
            with store.lease(keys[cell.stage], lambda _: None, lambda: False) as place:
                assert place
                model = place.work / OUTPUT / MODEL
                model.mkdir(parents=True)
                (model / "start").write_text(cell.start, encoding="utf-8")
                description = {"function": "trial/1", "config": {}, "inputs": {}}
                store.commit(place, cell.stage, description, {}, 1.0)
    return store


def outcome(start: str, seed: int, *, held_out: float, test: float) -> Outcome:
    points = (Point(step=0, flops=0.0, score=0.1), Point(step=5, flops=5.0, score=held_out))
    scores = {"accuracy": test}
    return Outcome(start=start, size=SIZE, seed=seed, parameters=9, points=points, test=scores, seconds=1.0)


def results(*outcomes: Outcome) -> Results:
    return Results(
        name="pico",
        metric="accuracy",
        reference=tuple(outcome("scratch", seed, held_out=0.5, test=0.5) for seed in (0, 1)),
        outcomes=outcomes,
        skipped=(),
        ancestors=(),
        ours=("front", "bot"),
        rates={},
        about={},
    )


def test_the_best_model_is_chosen_by_held_out_training_samples(planned: Plan, store: Store, tmp_path: Path) -> None:
    front, bot = outcome("front", 0, held_out=0.7, test=0.5), outcome("bot", 0, held_out=0.6, test=0.9)
    keep_ready(planned, results(front, bot), store, tmp_path)
    assert (tmp_path / "ready" / "2x32" / "start").read_text(encoding="utf-8") == "front"


def test_where_a_first_seed_diverged_the_models_of_the_others_stay(planned: Plan, store: Store, tmp_path: Path) -> None:
    second, bot = outcome("front", 1, held_out=0.9, test=0.9), outcome("bot", 0, held_out=0.6, test=0.6)
    keep_ready(planned, results(second, bot), store, tmp_path)
    assert (tmp_path / "ready" / "2x32" / "start").read_text(encoding="utf-8") == "bot"


def test_a_size_at_which_all_first_seeds_diverged_has_no_model(planned: Plan, store: Store, tmp_path: Path) -> None:
    keep_ready(planned, results(outcome("front", 1, held_out=0.9, test=0.9)), store, tmp_path)
    assert not (tmp_path / "ready").exists()
