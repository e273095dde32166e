"""The functions of the stages. They run in workers, take plain values, and leave their result in `work/output`."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from filelock import FileLock
from pydantic import BaseModel, ConfigDict

from pipelines.recipe import Condense, Pretrain, Recipe, Stage, Weit
from pipelines.store import OUTPUT
from trainers.dataset import Dataset
from trainers.engines.base import Engine
from trainers.loop import Progress, train
from trainers.objectives import Task
from trainers.parametrization import Composed, Parametrization, Plain
from trainers.world import World
from zoo import Architecture, Checkpoint, Learngene, architecture, condense, read_checkpoint, save_checkpoint
from zoo.files import write_json


class Job(BaseModel):
    """One stage to run: its config and the recipe around it, and the folders of the stages it refers to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: Recipe
    name: str
    work: Path
    inputs: dict[str, Path] = {}

    @property
    def stage(self) -> Stage:
        """The stage's config."""
        return self.recipe.stages[self.name]


def run_training(job_json: str) -> None:
    """Run a training stage on this worker; all workers of the group call it alike."""
    job = Job.model_validate_json(job_json)
    world = World.current()
    # After a kill, a worker of the old run may still be writing: the new one waits until it is gone.
    lock = FileLock(job.work / "lock") if world.rank == 0 else None
    if lock:
        job.work.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    world.barrier()
    try:
        stage = job.stage
        assert isinstance(stage, Pretrain | Weit)
        arch = architecture(job.recipe.family, job.recipe.config, stage.size)
        (_pretrain if isinstance(stage, Pretrain) else _weit)(job, arch)
    finally:
        if lock:
            lock.release()


def run_condense(job_json: str) -> None:
    """Run a closed form on this process."""
    job = Job.model_validate_json(job_json)
    stage = job.stage
    assert isinstance(stage, Condense)
    condense(read_checkpoint(job.inputs["weights"]), stage.method).save(job.work / OUTPUT)


def _pretrain(job: Job, arch: Architecture) -> None:
    stage = job.stage
    assert isinstance(stage, Pretrain)
    module = Plain(arch, seed=stage.train.seed)

    def save(data: Dataset) -> None:
        weights = {name: tensor.cpu() for name, tensor in module.model.state_dict().items()}
        origin = f"Pre-trained from scratch by recipe `{job.recipe.name}`."
        trained = Checkpoint(arch, weights, preprocessing=data.preprocessing)
        save_checkpoint(job.work / OUTPUT, trained, origin=origin)

    _train(job, stage, module, save)


def _weit(job: Job, arch: Architecture) -> None:
    stage = job.stage
    assert isinstance(stage, Weit)
    start = Learngene(stage.method, arch, stage.method.start(arch, stage.train.seed))
    module = Composed(start, masked=stage.masked)

    def save(data: Dataset) -> None:
        replace(module.learngene(), preprocessing=data.preprocessing).save(job.work / OUTPUT)

    _train(job, stage, module, save)


def _train(job: Job, stage: Pretrain | Weit, module: Parametrization, save: Callable[[Dataset], object]) -> None:
    data = Dataset.open(job.recipe.data, held_out="validation")
    objective = Task(stage.train.label_smoothing)
    report = _ProgressFile(job.work / "progress.json")
    engine: Engine = train(module, objective, data, stage.train, stage.resources, job.work, report)
    with engine.gathered():
        if engine.world.rank == 0:
            save(data)
    engine.world.barrier()


class _ProgressFile:
    """Tells the driver how far this training is, whichever host it runs on."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, progress: Progress) -> None:
        write_json(self._path, progress.__dict__)
