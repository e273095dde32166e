"""Stages that measure: one short training from one start, and the score of trained weights."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from pipelines.artifacts.store import METRICS
from pipelines.recipe.stages import Score, Trial
from pipelines.stages.common import Job, task_objective, train_stage, write_output
from pipelines.stages.opening import start_weights
from pipelines.stages.plain import save_trained
from pipelines.stages.scaling import widened
from trainers.calibration import calibrate
from trainers.config import Training
from trainers.dataset import Dataset
from trainers.evaluate import evaluate
from trainers.flops import FlopCounter
from trainers.metrics import read_metrics
from trainers.parametrization import Plain
from trainers.world import World
from zoo import Architecture, Checkpoint, Size
from zoo.errors import DivergedError

SCORES, MODEL = "scores.json", "model"


class Scores(BaseModel):
    """What a trial or a score stage leaves.

    points: rows of `step`, `flops` and the scores on held-out training samples.
    spent: FLOPs before the training, of a calibration.
    test: scores on the test split, after the last step; empty where the training `diverged` (which says how).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: Size
    parameters: int
    points: tuple[dict[str, float], ...] = ()
    spent: float = 0.0
    test: dict[str, float] = {}
    diverged: str | None = None


def trial(job: Job) -> None:
    """Train from the start, note the scores on the way, and score the test split once."""
    stage = job.stage
    assert isinstance(stage, Trial)
    arch, data = job.arch(stage.size), job.data()
    module, spent = _start(job, stage, arch, data)
    objective = task_objective(arch, stage.train)
    origin = f"Trained by stage `{job.name}` of recipe `{job.recipe.name}`."
    test: Mapping[str, float] = {}
    diverged = None
    try:
        engine = train_stage(
            job,
            module,
            objective,
            data,
            (stage.train, stage.resources),
            lambda _: save_trained(job, module, data, origin, MODEL) if stage.keep else None,
            score_at=stage.score_at,
        )
        test = evaluate(engine.forward, module, objective, job.data("test"), engine.world)
    except DivergedError as error:  # that is a result too
        diverged = str(error)
    points = tuple(_point(row) for row in read_metrics(job.work / METRICS) if "eval_loss" in row)
    scores = Scores(size=arch.size, parameters=arch.parameters(), points=points, spent=spent)
    scores = scores.model_copy(update={"test": dict(test), "diverged": diverged})
    write_output(job, World.current(), SCORES, scores.model_dump(mode="json"))


def score(job: Job) -> None:
    """Score trained weights on the test split."""
    checkpoint = job.checkpoint("weights")
    assert isinstance(job.stage, Score)
    job.check("weights", checkpoint.arch)
    arch, module = checkpoint.arch, Plain(checkpoint.arch, checkpoint.weights)
    objective = task_objective(arch, Training(steps=1))
    test = evaluate(module, module, objective, job.data("test"), World.current())
    scores = Scores(size=arch.size, parameters=arch.parameters(), test=test)
    write_output(job, World.current(), SCORES, scores.model_dump(mode="json"))


def _start(job: Job, stage: Trial, arch: Architecture, data: Dataset) -> tuple[Plain, float]:
    """The model before its training, and the FLOPs that a calibration took."""
    seed = stage.train.seed
    if stage.widen:
        return widened(job, "start", stage.size, stage.widen.model_copy(update={"seed": seed})), 0.0
    weights = start_weights(job.inputs["start"], arch, seed) if stage.start else None
    if stage.calibrate is None or weights is None:
        return Plain(arch, weights, seed=seed), 0.0
    with FlopCounter() as counter:
        mended = calibrate(Checkpoint(arch, weights), job.checkpoint("ancestor"), data, stage.calibrate)
    return Plain(arch, mended.weights), float(counter.flops)


def _point(row: dict[str, float]) -> dict[str, float]:
    return {name: row[name] for name in ("step", "flops", "accuracy", "eval_loss") if name in row}
