"""What `instantiate` does with data: scalers are fitted, weights calibrated, models scored. It loads training code."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from pipelines.recipe.matching import mismatches
from pipelines.show import progress_bar
from pipelines.stages.common import task_objective
from trainers.calibration import Calibration, calibrate
from trainers.config import Execution, Training
from trainers.data.config import Data
from trainers.dataset import Dataset
from trainers.evaluate import evaluate
from trainers.loop import train
from trainers.parametrization import Plain, fitted
from trainers.world import World
from zoo import Architecture, Learngene, Size, api
from zoo.checkpoint import Checkpoint
from zoo.errors import BadInputError

if TYPE_CHECKING:
    from pipelines.models.making import Fit


def open_data(text: str, arch: Architecture, tokenizer: Path | None) -> Dataset:
    """The data that `--data` names, scored on its test split. Raises `BadInputError`."""
    return Dataset.open(_data(text, arch, tokenizer), "test")


def fit_scalers(learngene: Learngene, size: Size, data: Dataset, fit: "Fit") -> Learngene:
    """The learngene at `size`, with what is particular to that size fitted and what sizes share frozen."""
    module = fitted(learngene, size)
    training = Training(steps=fit.steps, batch=fit.batch, lr=fit.lr, weight_decay=0.0, seed=fit.seed)
    execution = Execution(checkpoint_every=fit.steps)
    with tempfile.TemporaryDirectory() as folder, progress_bar("fit") as report:
        objective = task_objective(module.arch, training)
        train(module, objective, data, training, execution, Path(folder), lambda done: report(done.step, fit.steps))
    return module.learngene(parents=(learngene.digest,))


def calibrated(checkpoint: Checkpoint, learngene: Learngene, data: Dataset, samples: int) -> Checkpoint:
    """The checkpoint, mended in closed form to do what the learngene does at its own size."""
    whole = api.instantiate(learngene, learngene.source.size)
    return calibrate(checkpoint, whole, data, Calibration(samples=samples))


def score(checkpoint: Checkpoint, data: Dataset) -> dict[str, float]:
    """How good it is on the held-out samples."""
    module = Plain(checkpoint.arch, checkpoint.weights)
    objective = task_objective(checkpoint.arch, Training(steps=1))
    return evaluate(module, module, objective, data, World.current())


def _data(text: str, arch: Architecture, tokenizer: Path | None) -> Data:
    """The data that `--data` names, in the shape that the model wants."""
    kind, _, path = text.partition(":")
    config = arch.config.model_dump()
    content: dict[str, Any] = {"kind": kind}
    if path:
        wanted = {fact: config[field] for fact, field in arch.family.data.items()}
        content |= {"path": path, **wanted}
    if kind == "text":
        content |= {"length": config[arch.family.longest]} if arch.family.longest else {}
        content |= {"tokenizer": str(tokenizer)} if tokenizer else {}
        content = {name: value for name, value in content.items() if value is not None}
    try:
        data: Data = TypeAdapter(Data).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        what = f"{first['loc'][-1]}: {first['msg']}" if first["loc"] else first["msg"]
        shown = kind if first["type"] == "address" else text
        raise BadInputError(f"--data: {shown!r}: {what}; legal values: digits, webdataset:FOLDER, text:PATH") from error
    for field, problem in mismatches(arch.family, config, data):
        raise BadInputError(f"--data: {text!r}: the model's {field} is {problem}")
    return data
