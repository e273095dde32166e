"""The committed recipes: each can be read, whole and quick, and every start applies somewhere."""

from pathlib import Path

import pytest

from pipelines.bench.run import load_bench
from pipelines.bench.trials import trials
from pipelines.recipe.file import load_recipe
from pipelines.recipe.stages import Ref, inputs, sources

ROOT = Path(__file__).parents[2]
BENCHES = sorted((ROOT / "benchmarks/initialisation").glob("*.yaml"))
SELF_CONTAINED = [path for path in BENCHES if path.stem != "minilm-sst2"]  # that one wants the ancestor's folder


@pytest.mark.parametrize("path", SELF_CONTAINED, ids=lambda path: path.stem)
def test_every_start_of_a_bench_gives_at_least_one_of_its_sizes(path: Path) -> None:
    for quick in (False, True):
        recipe = load_bench(path, (), quick=quick)
        assert recipe.bench
        planned = trials(recipe, recipe.bench, {})
        missing = set(recipe.bench.starts) - {cell.start for cell in planned.cells}
        assert quick or not missing


@pytest.mark.parametrize("path", SELF_CONTAINED, ids=lambda path: path.stem)
def test_a_claim_rests_on_at_least_three_seeds(path: Path) -> None:
    bench = load_bench(path, (), quick=False).bench
    assert bench
    assert len(bench.seeds) >= 3


@pytest.mark.parametrize("path", SELF_CONTAINED, ids=lambda path: path.stem)
def test_a_bench_trains_nothing_that_no_start_uses(path: Path) -> None:
    recipe = load_bench(path, (), quick=False)
    assert recipe.bench
    used = {source.stage for _, source in sources(recipe.bench.starts) if isinstance(source, Ref)}
    for _ in recipe.stages:  # the longest chain of stages
        used |= {parent for name in used for parent in inputs(recipe.stages[name])}
    assert recipe.stages.keys() <= used


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks/transfer").glob("*.yaml")), ids=lambda path: path.stem)
def test_both_pairs_of_a_transfer_are_tuned_over_one_grid_for_one_time(path: Path) -> None:
    stages = load_recipe(path).stages
    small, large = (stages[name].model_dump(exclude={"weights", "size"}) for name in ("small", "large"))
    assert small == large
