"""One short training from one start: the unit of every comparison between learngenes and scratch."""

import tempfile
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from trainers.config import Execution, Training
from trainers.data.config import Data
from trainers.dataset import Dataset
from trainers.evaluate import evaluate
from trainers.loop import train
from trainers.metrics import read_metrics
from trainers.objectives import Task
from trainers.parametrization import Plain
from trainers.world import World
from zoo import Checkpoint, Learngene, Size, instantiate, save_checkpoint
from zoo.families import architecture

SCRATCH = "scratch"


class Trial(BaseModel):
    """A start (`scratch`, or the folder of a learngene), a size and a seed, and how it is trained from there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: str
    config: dict[str, int]
    data: Data
    size: Size
    start: str
    learngene: Path | None
    seed: int
    training: Training
    ready: Path | None = None
    """Where the trained model goes as a ready model, if anywhere."""


class Result(BaseModel):
    """What came of a trial: accuracy on the test split after `step` optimizer steps, from step 0."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: str
    start: str
    seed: int
    score: float
    curve: list[tuple[int, float]]
    parameters: int


def run_trial(trial_json: str) -> str:
    """Train and score one trial on this process; JSON in, JSON out, so that it can run anywhere."""
    trial = Trial.model_validate_json(trial_json)
    arch = architecture(trial.family, dict(trial.config), trial.size)
    weights = instantiate(Learngene.load(trial.learngene), trial.size).weights if trial.learngene else None
    module = Plain(arch, weights, seed=trial.seed)
    data = Dataset.open(trial.data, held_out="test")
    begin = evaluate(module, module, Task(), data, World.current())["accuracy"]
    training = trial.training.model_copy(update={"seed": trial.seed})
    with tempfile.TemporaryDirectory() as folder:
        train(module, Task(training.label_smoothing), data, training, Execution(), Path(folder))
        rows = [row for row in read_metrics(Path(folder) / "metrics.jsonl") if "accuracy" in row]
    if trial.ready:
        origin = f"Started from {trial.start}, then trained for {int(rows[-1]['step'])} steps (seed {trial.seed})."
        trained = Checkpoint(arch, module.model.state_dict(), preprocessing=data.preprocessing)
        save_checkpoint(trial.ready, trained, origin=origin)
    curve = [(0, begin), *((int(row["step"]), row["accuracy"]) for row in rows)]
    return Result(
        size=str(trial.size),
        start=trial.start,
        seed=trial.seed,
        score=curve[-1][1],
        curve=curve,
        parameters=arch.parameters(),
    ).model_dump_json()
