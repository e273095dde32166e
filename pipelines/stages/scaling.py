"""mu-pscaling stages: widen a model with its optimizer, and tune on a small pair what a large pair then uses."""

import itertools
import json
from pathlib import Path

from infra.growth import at_checkpoint
from pipelines.artifacts.store import METRICS, PROGRESS
from pipelines.recipe.stages import Tune, Widen
from pipelines.stages.common import Job, ProgressFile, task_objective, train_stage, write_output
from pipelines.stages.optimizer_file import OPTIMIZER, read_optimizer
from pipelines.stages.plain import save_trained
from trainers.config import Training
from trainers.dataset import Dataset
from trainers.loop import OptimizerState, train
from trainers.metrics import MetricsFile, last_value, read_metrics
from trainers.widened import Widened
from trainers.world import World
from zoo import Size
from zoo.errors import BadInputError, DivergedError
from zoo.methods.mupscaling import MuPScaling

TUNED = "tuned.json"
STATES = {"adamw": "exp_avg", "adam": "exp_avg", "sgd": "momentum_buffer"}
"""What the state of each optimizer holds."""


def widen(job: Job) -> None:
    """Widen weights and optimizer state, then train on."""
    stage = job.stage
    assert isinstance(stage, Widen)
    method, training = stage.method, stage.train
    if "tuned" in job.inputs:
        best = json.loads((job.inputs["tuned"] / TUNED).read_text(encoding="utf-8"))["best"]
        method = method.model_copy(update={"noise": best["noise"]})
        training = training.model_copy(update={"lr": best["lr"]})
    data, module = job.data(), widened(job, "weights", stage.size, method)
    origin = f"Widened from {module.narrow.size} to {stage.size} by recipe `{job.recipe.name}` (mu-pscaling)."
    train_stage(
        job,
        module,
        task_objective(module.arch, training),
        data,
        (training, stage.resources),
        lambda _: save_trained(job, module, data, origin),
        optimizer_state=_state(job, stage, module),
    )


def tune(job: Job) -> None:
    """Train the widened model once for every pair of learning rate and noise; the best one goes into `tuned.json`.

    Raises `DivergedError` if every pair does, `BadInputError` with the place for weights that cannot be widened, or
    came without the optimizer's state.
    """
    stage = job.stage
    assert isinstance(stage, Tune)
    data, world = job.data(), World.current()
    metrics = MetricsFile(job.work / METRICS, world, after=0)
    rows: list[dict[str, float | None]] = []
    flops = 0.0
    for i, (lr, noise) in enumerate(itertools.product(stage.grid.lr, stage.grid.noise)):
        training = stage.train.model_copy(update={"lr": lr})
        folder = job.work / f"trial-{i}"
        loss = _try(job, data, MuPScaling(noise=noise), training, folder)
        flops += last_value(folder / METRICS, "flops")
        rows.append({"lr": lr, "noise": noise, "eval_loss": loss})
        if loss is not None:
            metrics.write(i + 1, lr=lr, noise=noise, eval_loss=loss, flops=flops)
    finished = [row for row in rows if row["eval_loss"] is not None]
    if not finished:
        raise DivergedError(f"stages.{job.name}.grid: every pair of lr and noise diverged; try smaller values")
    best = min(finished, key=lambda row: row["eval_loss"] or 0.0)
    metrics.write(len(rows) + 1, eval_loss=best["eval_loss"] or 0.0, flops=flops)
    write_output(job, world, TUNED, {"best": best, "trials": rows})


def _try(job: Job, data: Dataset, method: MuPScaling, training: Training, folder: Path) -> float | None:
    """The held-out loss at the end of one training (None: it diverged)."""
    stage = job.stage
    assert isinstance(stage, Tune)
    module = widened(job, "weights", stage.size, method)
    objective, state = task_objective(module.arch, training), _state(job, stage, module)
    try:
        report = ProgressFile(job.work / PROGRESS, job.lease)
        train(module, objective, data, training, stage.resources, folder, report, state, on_checkpoint=at_checkpoint)
    except DivergedError:
        return None
    return read_metrics(folder / METRICS)[-1]["eval_loss"]


def widened(job: Job, field: str, size: Size, method: MuPScaling) -> Widened:
    """The model that mu-pscaling makes of the weights in `field`. Raises `BadInputError` with the place."""
    narrow = job.checkpoint(field)
    job.check(field, narrow.arch)
    try:
        return Widened(narrow, size, method)
    except BadInputError as error:
        raise job.refuse("size", str(error)) from error


def _state(job: Job, stage: Widen | Tune, module: Widened) -> OptimizerState | None:
    if stage.optimizer == "fresh":
        return None
    path = job.inputs["weights"] / OPTIMIZER
    if not path.is_file():
        hint = "set keep_optimizer: true in the stage that trains them, or optimizer: fresh here"
        raise job.refuse("weights", f"they came without the optimizer's state; {hint}")
    state, wanted = read_optimizer(path), STATES[stage.train.optimizer]
    if any(wanted not in fields for fields in state.values()):
        hint = f"train.optimizer: {stage.train.optimizer} cannot carry it on; take theirs, or optimizer: fresh"
        raise job.refuse("weights", f"their optimizer's state has no {wanted}; {hint}")
    return module.states(state.items())
