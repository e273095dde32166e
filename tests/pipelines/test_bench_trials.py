"""A bench as stages: who starts from what, what does not apply, and what the quick variant changes."""

import shlex
from pathlib import Path

import pytest
from pico_recipe import PICO, WEIT

from pipelines.bench.run import command_line, load_bench
from pipelines.bench.trials import trials, tuning
from pipelines.recipe.identity import stage_keys
from pipelines.recipe.recipe import Recipe
from pipelines.recipe.stages import Fit, Ref, Trial
from zoo.errors import BadInputError

BENCH = (
    PICO
    + WEIT
    + """\
    train: {steps: 4, batch: 32}
  closed:
    run: condense
    weights: {stage: ancestor}
bench:
  sizes: [{depth: 1, width: 32, heads: 2}, {depth: 2, width: 64, heads: 4}]
  seeds: [0, 1]
  train: {steps: 5, batch: 32, lr: 1.0e-3}
  reference: {steps: 50, lr: [1.0e-3, 2.0e-3], tune_steps: 10}
  starts:
    weit: {learngene: {stage: weit}, fit: {steps: 3}}
    front: {weights: {stage: ancestor}, method: {name: front}}
    mended: {weights: {stage: ancestor}, method: {name: bot}, calibrate: {samples: 64}}
    mup: {weights: {stage: ancestor}, method: {name: mupscaling}}
    selection: {weights: {stage: ancestor}, method: {name: selection}, baseline: true}
  quick: {bench.seeds: [0], stages.ancestor.train.steps: 2}
"""
)
RATES = {"scratch": {"1x32": 1e-3, "2x64": 2e-3}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "bench.yaml"
    file.write_text(BENCH, encoding="utf-8")
    return file


@pytest.fixture
def recipe(path: Path) -> Recipe:
    return load_bench(path, (), quick=False)


def trial(recipe: Recipe, name: str) -> Trial:
    stage = recipe.stages[name]
    assert isinstance(stage, Trial)
    return stage


def test_a_start_that_inherits_nothing_carries_no_cost_of_an_ancestor(path: Path) -> None:
    path.write_text(BENCH.replace("{name: selection}", "{name: mimetic}"), encoding="utf-8")
    recipe = load_bench(path, (), quick=False)
    assert recipe.bench
    carried = {cell.start: cell.learngene for cell in trials(recipe, recipe.bench, RATES).cells}
    assert carried["selection"] is None
    assert carried["front"] == Ref(stage="condense.front")


def test_what_a_method_cannot_give_is_skipped_with_the_reason(recipe: Recipe) -> None:
    assert recipe.bench
    planned = trials(recipe, recipe.bench, RATES)
    skipped = {(row.start, str(row.size)): row.why for row in planned.skipped}
    assert set(skipped) == {("mup", "1x32"), ("selection", "2x64")}
    assert "width" in skipped["selection", "2x64"]


def test_all_starts_share_data_order_and_budget_and_scratch_has_its_own_rate(recipe: Recipe) -> None:
    assert recipe.bench
    planned = trials(recipe, recipe.bench, RATES).recipe
    front, weit, scratch = (trial(planned, f"short.{name}.2x64.s1") for name in ("front", "weit", "scratch"))
    assert front.train == weit.train == recipe.bench.train.model_copy(update={"seed": 1})
    assert scratch.train == front.train.model_copy(update={"lr": 2e-3})
    long = trial(planned, "reference.scratch.2x64.s1")
    assert long.train == scratch.train.model_copy(update={"steps": 50})


def test_a_fit_is_done_once_for_a_size_and_every_seed_starts_from_it(recipe: Recipe) -> None:
    assert recipe.bench
    planned = trials(recipe, recipe.bench, RATES).recipe
    fits = [name for name, stage in planned.stages.items() if isinstance(stage, Fit)]
    assert fits == ["fit.weit.1x32", "fit.weit.2x64"]
    starts = [trial(planned, f"short.weit.2x64.s{seed}").start for seed in (0, 1)]
    assert starts == 2 * [Ref(stage="fit.weit.2x64")]


def test_a_calibrated_start_is_held_to_the_weights_it_comes_from(recipe: Recipe) -> None:
    assert recipe.bench
    stage = trial(trials(recipe, recipe.bench, RATES).recipe, "short.mended.1x32.s0")
    assert (stage.start, stage.ancestor) == (Ref(stage="condense.mended"), Ref(stage="ancestor"))
    assert stage.calibrate
    assert stage.calibrate.samples == 64


def test_learning_rates_are_tried_for_scratch_at_every_size(recipe: Recipe) -> None:
    assert recipe.bench
    planned, names = tuning(recipe, recipe.bench)
    assert {start: list(sizes) for start, sizes in names.items()} == {"scratch": ["1x32", "2x64"]}
    tried = [trial(planned, name) for name in names["scratch"]["2x64"].values()]
    assert [(stage.start, stage.train.lr, stage.train.steps) for stage in tried] == [(None, 1e-3, 10), (None, 2e-3, 10)]


def test_learning_rates_are_tried_for_every_start_as_its_training_of_the_first_seed(path: Path) -> None:
    recipe = load_bench(path, ("bench.lr=[5.0e-4, 1.0e-3]",), quick=False)
    assert recipe.bench
    tries, names = tuning(recipe, recipe.bench)
    assert {start: list(sizes) for start, sizes in names.items() if start in ("front", "mup", "selection")} == {
        "front": ["1x32", "2x64"],
        "mup": ["2x64"],
        "selection": ["1x32"],
    }
    planned = trials(recipe, recipe.bench, RATES | {"front": {"1x32": 5e-4, "2x64": 1e-3}}).recipe
    assert [trial(planned, f"short.front.{size}.s1").train.lr for size in names["front"]] == [5e-4, 1e-3]
    assert stage_keys(planned)["short.front.1x32.s0"] == stage_keys(tries)[names["front"]["1x32"][5e-4]]


def test_a_wider_bench_does_not_train_again_what_a_narrower_one_has_trained(path: Path, recipe: Recipe) -> None:
    wider = load_bench(path, ("bench.seeds=[0,1,2]",), quick=False)
    keys = [stage_keys(trials(r, r.bench, RATES).recipe) for r in (recipe, wider) if r.bench]
    assert keys[0].items() <= keys[1].items()


def test_quick_changes_what_it_says_and_set_comes_after_it(path: Path) -> None:
    quick = load_bench(path, ("bench.seeds=[7]",), quick=True)
    assert quick.bench
    assert quick.bench.seeds == (7,)
    assert quick.stages["ancestor"].train.steps == 2  # pyright: ignore[reportAttributeAccessIssue]


def test_a_mistake_of_the_quick_variant_is_not_blamed_on_set(path: Path) -> None:
    path.write_text(BENCH.replace("quick: {bench.seeds:", "quick: {bench.sedes:"), encoding="utf-8")
    with pytest.raises(BadInputError, match=r"^--quick: bench\.sedes: unknown field"):
        load_bench(path, ("bench.train.steps=7",), quick=True)


def test_a_quick_look_takes_the_place_of_nothing_that_was_made_in_full(path: Path) -> None:
    path.write_text(BENCH.replace("bench:\n", "register:\n  pico.weit: {stage: weit}\nbench:\n"), encoding="utf-8")
    full, quick = (load_bench(path, (), quick=quick) for quick in (False, True))
    assert (full.name, list(full.entries)) == ("pico", ["pico.weit"])
    assert (quick.name, list(quick.entries)) == ("pico-quick", [])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{stage: weit}, fit", "{stage: wet}, fit", r"starts\.weit\.learngene\.stage: .*'wet'"),
        ("{learngene: {stage: weit}", "{learngene: {stage: ancestor}", r"learngene: .*gives no learngene"),
        ("method: {name: front}", "fit: {steps: 1}", r"starts\.front: weights need a method"),
        ("{name: front}}", "{name: front}, fit: {steps: 1}}", r"starts\.front\.fit: .*'front' has nothing to fit"),
        (
            "{learngene: {stage: weit}, fit",
            "{learngene: {stage: closed}, fit",
            r"weit\.fit: .*'front' has nothing to fit",
        ),
        ("depth: 1, width: 32, heads: 2", "depth: 1, width: 30, heads: 4", r"sizes\.0: heads: 4 does not divide"),
        ("depth: 1, width: 32, heads: 2", "depth: 2, width: 64, heads: 2", r"bench: sizes: 2x64 stands there twice"),
        ("{learngene: {stage: weit}, fit", "{learngene: {stage: weit}, calibrate: {}, fit", r"calibrate needs weights"),
        ("    selection:", "    scratch:", r"bench: starts: 'scratch' is always compared"),
        ("  seeds: [0, 1]", "  seeds: [0, 0]", r"bench: seeds: a seed stands there twice"),
        ("  seeds: [0, 1]", "  score_at: [0.5, 1]", r"bench: score_at: 0 is missing"),
        (", tune_steps: 10", "", r"bench\.reference: tune_steps is missing"),
        ("  seeds: [0, 1]", "  seedz: [0, 1]", r"bench\.seedz: unknown field; legal fields: sizes, seeds"),
    ],
)
def test_a_mistake_in_a_bench_names_its_place(path: Path, old: str, new: str, message: str) -> None:
    assert old in BENCH
    path.write_text(BENCH.replace(old, new), encoding="utf-8")
    with pytest.raises(BadInputError, match=message):
        load_bench(path, (), quick=False)


def test_a_recipe_without_a_bench_is_refused(path: Path) -> None:
    path.write_text(BENCH[: BENCH.index("bench:")], encoding="utf-8")
    with pytest.raises(BadInputError, match="bench: the field is missing"):
        load_bench(path, (), quick=False)


def test_the_command_of_a_report_can_be_pasted_into_a_shell() -> None:
    sets = ("bench.sizes=[{depth: 3, width: 64}]", "data.path=my data")
    text = command_line(Path("my bench.yaml"), sets, quick=True)
    assert shlex.split(text) == ["zoo", "bench", "my bench.yaml", "--quick", "--set", sets[0], "--set", sets[1]]
