"""What the verbs about models do: `instantiate` (fitted or calibrated where asked) and `condense`."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import TypeAdapter, ValidationError

from pipelines.cards import start_of
from pipelines.matching import mismatches
from pipelines.show import progress_bar
from pipelines.stages.common import task_objective
from pipelines.store import Store
from trainers.calibration import Calibration, calibrate
from trainers.config import Execution, Training
from trainers.data.config import Data
from trainers.dataset import Dataset
from trainers.evaluate import evaluate
from trainers.loop import train
from trainers.parametrization import Plain, fitted
from trainers.world import World
from zoo import Architecture, Learngene, Size, api, read_checkpoint, save_checkpoint
from zoo.checkpoint import Checkpoint
from zoo.errors import BadInputError
from zoo.files import check_out
from zoo.heads import change_head
from zoo.manifest import TOKENIZER
from zoo.methods import CLOSED_FORMS
from zoo.methods.base import ClosedForm

if TYPE_CHECKING:
    from registry.entries import Entry


@dataclass(frozen=True)
class Fit:
    """How scalers are fitted to a size: AdamW without weight decay, templates frozen. `seed` also starts a new head.

    calibrate: training samples for a calibration in closed form (0: none), after the fit.
    """

    steps: int = 0
    lr: float = 2e-3
    batch: int = 128
    seed: int = 0
    calibrate: int = 0


def make_model(
    ref: str,
    wanted: tuple[int, int, int | None, int | None],
    head: tuple[str, ...],
    data: str | None,
    fit: Fit,
    out: Path,
) -> dict[str, Any]:
    """A ready model in folder `out`: expanded, fitted and calibrated where asked, scored where there are data.

    `head` holds FIELD=VALUE for config fields that a new use changes; the new head starts at random.
    """
    check_out(out)
    for option, asked in (("--fit-steps", fit.steps), ("--calibrate", fit.calibrate)):
        if asked and data is None:
            raise BadInputError(f"{option}: it needs --data ('digits', 'webdataset:FOLDER' or 'text:PATH')")
        if asked and head:
            raise BadInputError(f"--head: {option} wants the learngene's own head; leave one out, or train the model")
    folder = api.locate(ref)
    learngene, fields = Learngene.load(folder), _head(head)
    size = learngene.size(*wanted)
    tokenizer = folder / TOKENIZER if learngene.tokenizer else None
    arch = change_head(learngene.source, fields)
    dataset = Dataset.open(_data(data, arch, tokenizer), "test") if data else None
    if fit.steps and dataset:
        learngene = fit_scalers(learngene, size, dataset, fit)
    checkpoint = api.instantiate(learngene, size, fields, fit.seed)
    if fit.calibrate and dataset:
        whole = api.instantiate(learngene, learngene.source.size)
        checkpoint = calibrate(checkpoint, whole, dataset, Calibration(samples=fit.calibrate))
    scores = _score(checkpoint, dataset) if dataset else {}
    fitted_for = f", scalers fitted for {fit.steps} steps" if fit.steps else ""
    calibrated_on = f", calibrated on {fit.calibrate} samples" if fit.calibrate else ""
    origin = f"Started from learngene `{ref}`{fitted_for}{calibrated_on}."
    if dataset:  # what the scores were measured with
        checkpoint = replace(checkpoint, preprocessing=dataset.preprocessing)
    save_checkpoint(out, checkpoint, origin=origin, start=start_of(ref, learngene, size), scores=scores)
    arch = checkpoint.arch
    numbers = {"parameters": arch.parameters(), "flops": arch.flops(), "fit_steps": fit.steps}
    return {"out": str(out), "size": size.model_dump(), **numbers, **scores}


def fit_scalers(learngene: Learngene, size: Size, data: Dataset, fit: Fit) -> Learngene:
    """The learngene at `size`, with what is particular to that size fitted and what sizes share frozen."""
    module = fitted(learngene, size)
    training = Training(steps=fit.steps, batch=fit.batch, lr=fit.lr, weight_decay=0.0, seed=fit.seed)
    execution = Execution(checkpoint_every=fit.steps)
    with tempfile.TemporaryDirectory() as folder, progress_bar("fit") as report:
        objective = task_objective(module.arch, training)
        train(module, objective, data, training, execution, Path(folder), lambda done: report(done.step, fit.steps))
    return module.learngene(parents=(learngene.digest,))


def condense_folder(folder: Path, method: str, options: tuple[str, ...], name: str) -> "Entry":
    """Condense a checkpoint folder into the store and register it as the champion of `name`."""
    from pipelines.provenance import write_by_hand
    from registry.promote import set_alias
    from registry.refs import parse_name
    from registry.register import register as register_entry

    chosen = _closed_form(method, options)
    parse_name(name)
    began = monotonic()
    learngene = api.condense(read_checkpoint(folder), chosen)
    place = Store.default().root / "learngenes" / learngene.digest
    learngene.save(place)
    sha = write_by_hand(place, monotonic() - began)
    entry = register_entry(place, name, metrics={}, tags={"made-by": "condense", "provenance": sha})
    return set_alias(name, "champion", entry.version)


def _score(checkpoint: Checkpoint, data: Dataset) -> dict[str, float]:
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


def _head(options: tuple[str, ...]) -> dict[str, Any]:
    """The fields of `--head`."""
    fields: dict[str, Any] = {}
    for option in options:
        field, equals, value = option.partition("=")
        if not equals:
            raise BadInputError(f"--head: {option!r}; wanted: FIELD=VALUE")
        try:
            fields[field] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise BadInputError(f"--head {field}: {value!r} is not valid YAML") from error
    return fields


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
