"""What all stages share: the job they are given, the training around them, how far they are."""

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from infra.growth import at_checkpoint
from pipelines.artifacts.lease import check_lease
from pipelines.artifacts.store import OUTPUT, PROGRESS
from pipelines.recipe.matching import mismatches
from pipelines.recipe.recipe import Recipe
from pipelines.recipe.stages import Stage
from pipelines.stages.opening import open_checkpoint, open_learngene
from trainers.config import Execution, Training
from trainers.dataset import Dataset
from trainers.diffusion import Denoising
from trainers.engines.base import Engine
from trainers.loop import OptimizerState, Progress, train
from trainers.objectives import Objective, Task
from trainers.parametrization import Parametrization
from trainers.patience import patiently
from trainers.world import World
from zoo import Architecture, Checkpoint, Learngene, Size
from zoo.errors import BadInputError, IntegrityError
from zoo.families import architecture
from zoo.files import write_json


class Job(BaseModel):
    """One stage to run: its config and the recipe around it, and the folders of what it starts from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: Recipe
    name: str
    work: Path
    inputs: dict[str, Path] = {}
    """By the place of the source in the stage's config."""
    lease: Path | None = None
    """Of the run that this job belongs to; null: nobody else can want its folder."""

    @property
    def stage(self) -> Stage:
        """The stage's config."""
        return self.recipe.stages[self.name]

    def arch(self, size: Size) -> Architecture:
        """The recipe's architecture at a size."""
        return architecture(self.recipe.family, self.recipe.config, size)

    def data(self, held_out: Literal["validation", "test"] = "validation") -> Dataset:
        """The recipe's data, scored on `held_out`."""
        return Dataset.open(self.recipe.data, held_out)

    def checkpoint(self, field: str) -> Checkpoint:
        """The trained weights in `field`."""
        return open_checkpoint(self.inputs[field])

    def learngene(self, field: str) -> Learngene:
        """The learngene in `field`."""
        return open_learngene(self.inputs[field], f"stages.{self.name}.{field}")

    def check(self, field: str, arch: Architecture) -> None:
        """Refuse what comes from `field` where it is of another family than the recipe, or does not fit the data."""
        if arch.family.name != self.recipe.family:
            raise self.refuse(field, f"it is a {arch.family.name!r}, but the recipe's family is {self.recipe.family!r}")
        for name, problem in mismatches(arch.family, arch.config.model_dump(), self.recipe.data):
            raise self.refuse(field, f"{name}: {problem}")

    def refuse(self, field: str, text: str) -> BadInputError:
        """An error that names the place in the recipe."""
        return BadInputError(f"stages.{self.name}.{field}: {text}")


def task_objective(arch: Architecture, training: Training) -> Objective:
    """The loss that the family's model is trained with."""
    if arch.family.task(arch.config) == "denoising":
        return Denoising(arch.config.model_dump()["num_classes"])
    return Task(training.label_smoothing)


def train_stage(
    job: Job,
    module: Parametrization,
    objective: Objective,
    data: Dataset,
    settings: tuple[Training, Execution],
    save: Callable[[Engine], None],
    optimizer_state: OptimizerState | None = None,
    score_at: Collection[float] = (),
) -> Engine:
    """Train in the job's folder, then let the first worker `save` while parameters are whole."""
    training, execution = settings
    report = ProgressFile(job.work / PROGRESS, job.lease)
    engine = train(
        module, objective, data, training, execution, job.work, report, optimizer_state, score_at, at_checkpoint
    )
    with engine.gathered():
        patiently(engine.world, job.work, lambda: save(engine) if engine.world.rank == 0 else None)
    return engine


def write_output(job: Job, world: World, name: str, content: Mapping[str, Any]) -> None:
    """Let the first worker write a result as JSON; every worker calls it alike."""

    def write() -> None:
        (job.work / OUTPUT).mkdir(parents=True, exist_ok=True)
        write_json(job.work / OUTPUT / name, content)

    patiently(world, job.work, lambda: write() if world.rank == 0 else None)


class ProgressFile:
    """Tells the driver how far this training is, whichever host it runs on; ends it when another run has taken over.

    Once a second is enough: steps may take a millisecond, and the file system is shared.
    """

    def __init__(self, path: Path, lease: Path | None) -> None:
        self._path, self._lease, self._next = path, lease, 0.0

    def __call__(self, progress: Progress) -> None:
        """Raises `LeaseLostError` where another run has taken over."""
        if monotonic() < self._next:
            return
        self._next = monotonic() + 1
        if self._lease:
            check_lease(self._lease)
        with suppress(OSError, IntegrityError):  # a disk that is full ends no training; the next line says more
            write_json(self._path, progress.__dict__)
