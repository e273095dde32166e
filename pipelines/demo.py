"""`zoo demo`: a recipe from data to registry, then models of four sizes beside the same models from scratch."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from infra.cluster import Cluster, connect
from pipelines.compare import SCRATCH, Result, Trial, run_trial
from pipelines.recipe import Recipe
from pipelines.recipe_file import load_recipe
from pipelines.report import Report
from pipelines.runner import plan, register, run
from pipelines.show import live_stages, messages, progress_bar
from pipelines.store import Store
from registry.pull import pull
from trainers.config import Training
from trainers.loop import Progress
from zoo import Learngene, Size
from zoo.errors import BadInputError
from zoo.files import atomic_folder

RECIPE = Path(__file__).parent / "recipes" / "demo.yaml"
DEPTHS, WIDTHS, SEEDS = (3, 6), (64, 96), (0, 1, 2)
EPOCH = Training(epochs=1, batch=64, lr=2e-3, warmup=0.1, evaluate_every=4)


def run_demo(out: Path) -> Report:
    """Run the demo; results go to `out` (`table.md`, `results.json`, `curves.png`, `ready/<size>/`)."""
    if out.exists() and not (out / "results.json").is_file() and (not out.is_dir() or any(out.iterdir())):
        raise BadInputError(f"--out: {out} holds something else; choose another folder")
    recipe, store = load_recipe(RECIPE), Store.default()
    rows = plan(recipe, store)
    with connect() as cluster:
        with live_stages(rows, store) as on_change:
            run(recipe, store, rows, lambda: cluster, on_change)
        learngenes = {entry.name: pull(f"{entry.name}@champion") for entry in register(recipe, store, rows)}
        with atomic_folder(out) as folder:
            trials = list(_trials(recipe, learngenes, folder / "candidates"))
            report = Report(_run(cluster, trials))
            _keep_best(report, folder)
            report.write(folder, _how(recipe, learngenes))
    messages.print(f"results: {out}/table.md, results.json, curves.png, ready/", highlight=False)
    return report


def _trials(recipe: Recipe, learngenes: dict[str, Path], candidates: Path) -> Iterator[Trial]:
    for depth in DEPTHS:
        for width in WIDTHS:
            size = Size(depth=depth, width=width, heads=width // 32)
            for start, folder in {**learngenes, SCRATCH: None}.items():
                for seed in SEEDS:
                    yield Trial(
                        family=recipe.family,
                        config=recipe.config,
                        data=recipe.data,
                        size=size,
                        start=start,
                        learngene=folder,
                        seed=seed,
                        training=EPOCH,
                        ready=candidates / str(size) / start if folder and seed == SEEDS[0] else None,
                    )


def _run(cluster: Cluster, trials: list[Trial]) -> list[Result]:
    results: dict[int, Result] = {}
    with progress_bar("short trainings", len(trials)) as show:
        for i, text in cluster.map(run_trial, [trial.model_dump_json() for trial in trials]):
            results[i] = Result.model_validate_json(text)
            show(Progress(len(results), len(trials), 0.0, 0.0))
    return [results[i] for i in range(len(trials))]


def _keep_best(report: Report, folder: Path) -> None:
    """Of the models of each size, keep the one from the learngene that did best."""
    for size in dict.fromkeys(result.size for result in report.results):
        (folder / "ready").mkdir(exist_ok=True)
        (folder / "candidates" / size / report.best_start(size)).rename(folder / "ready" / size)
    shutil.rmtree(folder / "candidates")


def _how(recipe: Recipe, learngenes: dict[str, Path]) -> str:
    made = {name: Learngene.load(folder).source.size for name, folder in learngenes.items()}
    at = ", ".join(f"`{name}` (made at {size})" for name, size in made.items())
    return (
        f"Models of {len(DEPTHS) * len(WIDTHS)} sizes (depth x width) on {recipe.data.kind}, started from {at} or from "
        f"scratch, each trained for {EPOCH.epochs:g} epoch with the same data order and settings "
        f"(batch {EPOCH.batch}, learning rate {EPOCH.lr}). Accuracy on held-out images in percent, mean ± standard "
        f"deviation over {len(SEEDS)} seeds."
    )
