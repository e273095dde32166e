"""Tune learning rate and noise on a small pair and on a large pair, and start the large model both ways.

The recipe has four stages: `narrow` and `base` (trained models), and `small` and `large` (their tuning, one grid).
The small pair's choice is then used unchanged: the large model is widened from `base`, or trained from scratch with the
same learning rate, data order and steps, under three seeds.

Example: python -m benchmarks.transfer benchmarks/transfer/mlp.yaml --out transfer-mlp
"""

import argparse
import json
import sys
from pathlib import Path

from benchmarks.rows import conditions, say
from benchmarks.transfer.report import FILES, Cell, Curve, Transfer, write
from infra.cluster import connect
from pipelines.artifacts.store import Store
from pipelines.bench.gather import read_scores
from pipelines.recipe.file import load_recipe
from pipelines.recipe.recipe import Recipe
from pipelines.recipe.stages import Ref, Trial, Tune
from pipelines.run.runner import plan, run
from pipelines.run.status import StageStatus
from pipelines.stages.scaling import TUNED
from zoo.errors import BadInputError, ZooError
from zoo.files import atomic_folder, check_out
from zoo.methods.mupscaling import MuPScaling

SEEDS = (0, 1, 2)
SCORE_AT = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)


def measure(recipe: Recipe, store: Store) -> Transfer:
    """Run what is not done, and read it."""
    with connect() as cluster:
        rows = plan(recipe, store)
        run(recipe, store, rows, lambda: cluster, _say)
        keys, costs = {row.name: row.key for row in rows}, {row.name: row.scores.get("flops", 0.0) for row in rows}
        grids = {name: _grid(store, keys[name]) for name in ("small", "large")}
        best = min(grids["small"], key=Cell.rank)
        with_trials = recipe.model_copy(update={"stages": recipe.stages | dict(_trials(recipe, best))})
        rows = plan(with_trials, store)
        run(with_trials, store, rows, lambda: cluster, _say)
    points = {row.name: read_scores(store, row.key).points for row in rows if row.run == "trial"}
    curves = [
        Curve(name.partition(".")[0], int(name.partition(".s")[2]), [(p["step"], p["eval_loss"]) for p in at])
        for name, at in points.items()
    ]
    sizes = {name: str(_tune(recipe, name).size) for name in ("small", "large")}
    return Transfer(recipe.name, sizes, grids, best, costs, curves, conditions())


def _trials(recipe: Recipe, best: Cell) -> list[tuple[str, Trial]]:
    large = _tune(recipe, "large")
    trials: list[tuple[str, Trial]] = []
    for seed in SEEDS:
        train = large.train.model_copy(update={"lr": best.lr, "seed": seed})
        shared = {"run": "trial", "size": large.size, "train": train, "score_at": SCORE_AT}
        warm = {"start": Ref(stage="base"), "widen": MuPScaling(noise=best.noise)}
        trials.append((f"warm.s{seed}", Trial.model_validate(shared | warm)))
        trials.append((f"scratch.s{seed}", Trial.model_validate(shared)))
    return trials


def check(recipe: Recipe) -> None:
    """Raise `BadInputError` if one of the four stages is missing, or is something else."""
    for name, kind in {"narrow": "pretrain", "base": "pretrain", "small": "tune", "large": "tune"}.items():
        stage = recipe.stages.get(name)
        if stage is None or stage.run != kind:
            raise BadInputError(f"stages.{name}: {f'run: {stage.run}' if stage else 'missing'}; wanted is run: {kind}")


def _tune(recipe: Recipe, name: str) -> Tune:
    stage = recipe.stages[name]
    assert isinstance(stage, Tune)
    return stage


def _grid(store: Store, key: str) -> list[Cell]:
    trials = json.loads((store.verified(key) / TUNED).read_text(encoding="utf-8"))["trials"]
    return [Cell(trial["lr"], trial["noise"], trial["eval_loss"]) for trial in trials]


def _say(row: StageStatus) -> None:
    if row.state != "running":
        say(f"{row.name}: {row.state}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder of table and plots")
    options = parser.parse_args()
    try:
        check_out(options.out, FILES)
        recipe = load_recipe(options.recipe)
        check(recipe)
        transfer = measure(recipe, Store.default())
    except ZooError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    with atomic_folder(options.out) as folder:
        write(transfer, folder, f"python -m benchmarks.transfer {options.recipe}")
    print((options.out / "README.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
