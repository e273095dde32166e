"""What the verbs about models do: `instantiate` (with a fit of the scalers where asked) and `condense`."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import TypeAdapter, ValidationError

from pipelines.show import progress_bar
from pipelines.store import Store
from trainers.config import Execution, Training
from trainers.data.config import Data
from trainers.dataset import Dataset
from trainers.evaluate import evaluate
from trainers.loop import train
from trainers.objectives import Task
from trainers.parametrization import Composed, Plain
from trainers.world import World
from zoo import Learngene, Size, api, read_checkpoint, save_checkpoint
from zoo.checkpoint import Checkpoint
from zoo.errors import BadInputError
from zoo.methods import CLOSED_FORMS
from zoo.methods.base import ClosedForm, Trained

if TYPE_CHECKING:
    from registry.entries import Entry


@dataclass(frozen=True)
class Fit:
    """How scalers are fitted to a size: AdamW without weight decay, templates frozen."""

    steps: int = 0
    lr: float = 2e-3
    batch: int = 128
    seed: int = 0


def make_model(
    ref: str, wanted: tuple[int, int, int | None, int | None], data: str | None, fit: Fit, out: Path
) -> dict[str, Any]:
    """A ready model in folder `out`: expanded, fitted where asked, scored where there are data."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInputError(f"--out: {out} exists and is not an empty folder; choose another")
    if fit.steps and data is None:
        raise BadInputError("--fit-steps: fitting needs --data ('digits' or 'webdataset:FOLDER')")
    learngene = Learngene.load(api.locate(ref))
    size = learngene.size(*wanted)
    dataset = Dataset.open(_data(data, learngene), "test") if data else None
    if fit.steps and dataset:
        learngene = fit_scalers(learngene, size, dataset, fit)
    checkpoint = api.instantiate(learngene, size)
    scores = _score(checkpoint, dataset) if dataset else {}
    origin = f"Started from learngene `{ref}`" + (f", scalers fitted for {fit.steps} steps." if fit.steps else ".")
    if dataset:  # what the scores were measured with
        checkpoint = replace(checkpoint, preprocessing=dataset.preprocessing)
    save_checkpoint(out, checkpoint, origin=origin)
    arch = checkpoint.arch
    numbers = {"parameters": arch.parameters(), "flops": arch.flops(), "fit_steps": fit.steps}
    return {"out": str(out), "size": size.model_dump(), **numbers, **scores}


def fit_scalers(learngene: Learngene, size: Size, data: Dataset, fit: Fit) -> Learngene:
    """The learngene at `size`, with what is particular to that size fitted and the templates frozen."""
    method = learngene.method
    if not isinstance(method, Trained):
        raise BadInputError(f"--fit-steps: a learngene of method {method.name!r} has no scalers to fit; leave it out")
    method.legal(learngene.source).check(size)
    target = learngene.source.at(size)
    start = Learngene(learngene.method, target, method.resize(learngene.tensors, learngene.source, target))
    module = Composed(start, freeze_shared=True)
    training = Training(steps=fit.steps, batch=fit.batch, lr=fit.lr, weight_decay=0.0, seed=fit.seed)
    execution = Execution(checkpoint_every=fit.steps)
    with tempfile.TemporaryDirectory() as folder, progress_bar("fit", fit.steps) as report:
        train(module, Task(), data, training, execution, Path(folder), report)
    return module.learngene(parents=(learngene.digest,))


def condense_folder(folder: Path, method: str, options: tuple[str, ...], name: str) -> "Entry":
    """Condense a checkpoint folder into the store and register it as the champion of `name`."""
    from registry.refs import parse_name
    from registry.register import register as register_entry
    from registry.register import set_alias

    chosen = _closed_form(method, options)
    parse_name(name)
    learngene = api.condense(read_checkpoint(folder), chosen)
    place = Store.default().root / "learngenes" / learngene.digest
    learngene.save(place)
    entry = register_entry(place, name, metrics={}, tags={"made-by": "condense"})
    return set_alias(name, "champion", entry.version)


def _score(checkpoint: Checkpoint, data: Dataset) -> dict[str, float]:
    module = Plain(checkpoint.arch, checkpoint.weights)
    return evaluate(module, module, data, World.current())


def _data(text: str, learngene: Learngene) -> Data:
    """The data that `--data` names, at the learngene's image size and classes."""
    kind, _, path = text.partition(":")
    config = learngene.source.config.model_dump()
    content: dict[str, Any] = {"kind": kind}
    if kind == "webdataset":
        content |= {"path": path, "image_size": config["img_size"], "classes": config["num_classes"]}
        content |= {"channels": config["in_chans"]}
    try:
        data: Data = TypeAdapter(Data).validate_python(content)
    except ValidationError as error:
        raise BadInputError(f"--data: {text!r}; legal values: digits, webdataset:FOLDER") from error
    have, want = (data.image_size, data.channels, data.classes), ("img_size", "in_chans", "num_classes")
    if have != tuple(config[name] for name in want):
        raise BadInputError(f"--data: {text!r} has (pixels, channels, classes) {have}, the learngene {config}")
    return data


def _closed_form(name: str, options: tuple[str, ...]) -> ClosedForm:
    """A closed-form method from `--method` and its `--set` options."""
    if name not in CLOSED_FORMS:
        raise BadInputError(f"--method: {name!r}; legal values: {', '.join(CLOSED_FORMS)}")
    kind = CLOSED_FORMS[name]
    pairs = [option.partition("=") for option in options]
    try:
        return kind(**{key: yaml.safe_load(value) for key, _, value in pairs})
    except (ValidationError, yaml.YAMLError) as error:
        text = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": "not valid YAML"}
        legal = ", ".join(field for field in kind.model_fields if field != "name")
        raise BadInputError(
            f"--set {'.'.join(map(str, text['loc']))}: {text['msg']}; options of {name}: {legal}"
        ) from error
