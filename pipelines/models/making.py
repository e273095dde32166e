"""What the verbs about models do: `instantiate` (fitted or calibrated where asked) and `condense`.

What needs no data imports no training code: a job that only expands a learngene starts in seconds.
"""

import shutil
from dataclasses import asdict, dataclass, field, replace
from math import isfinite
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from pipelines.models.cards import start_of
from zoo import Learngene, Size, api, read_checkpoint
from zoo.api import is_folder
from zoo.checkpoint import Checkpoint, write_checkpoint
from zoo.errors import BadInputError, DivergedError
from zoo.files import atomic_folder, check_out
from zoo.heads import change_head
from zoo.manifest import TOKENIZER
from zoo.methods import CLOSED_FORMS
from zoo.methods.base import ClosedForm
from zoo.ready import Ready, seal

if TYPE_CHECKING:
    from registry.entries import Entry
    from registry.ready import ReadyEntry
    from trainers.dataset import Dataset


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


@dataclass(frozen=True)
class Making:
    """What a ready model follows from, beside a learngene and a size.

    head: values of config fields that a new use changes; the new head starts at random.
    data: what `--data` names: samples to fit, calibrate and score the model on.
    """

    head: dict[str, Any] = field(default_factory=dict)
    data: str | None = None
    fit: Fit = Fit()

    def __post_init__(self) -> None:
        for option, asked in (("--fit-steps", self.fit.steps), ("--calibrate", self.fit.calibrate)):
            if asked and self.data is None:
                raise BadInputError(f"{option}: it needs --data ('digits', 'webdataset:FOLDER' or 'text:PATH')")
            if asked and self.head:
                own = "wants the learngene's own head; leave one out, or train the model"
                raise BadInputError(f"--head: {option} {own}")

    @property
    def options(self) -> dict[str, Any]:
        """As `ready.json` holds them."""
        return asdict(self)


@dataclass(frozen=True)
class Source:
    """A learngene: what it is called, and where a node gets it from (a folder that all nodes see, or the registry)."""

    ref: str
    place: "Path | Entry"

    @classmethod
    def of(cls, ref: str) -> "Source":
        """Looked up once, so that all models come from the same version whatever is promoted meanwhile."""
        if is_folder(ref):
            return cls(ref, Path(ref).absolute())
        from registry.entries import find_entry  # mlflow takes a second to import

        entry = find_entry(ref)
        return cls(entry.ref, entry)

    def folder(self) -> Path:
        """On this node; copied from the store, once, where it is not there yet."""
        if isinstance(self.place, Path):
            return self.place
        from registry.pull import pull_entry

        return pull_entry(self.place)


def make_model(
    ref: str, wanted: tuple[int, int, int | None, int | None], how: Making, out: Path, name: str | None = None
) -> dict[str, Any]:
    """A ready model in folder `out`: expanded, fitted and calibrated where asked, scored where there are data.

    With a `name` it is registered under it, DEPTHxWIDTH as its alias.
    """
    check_out(out)
    if name:
        from registry.register import check_name

        check_name(name, ready=True)
    source = Source.of(ref)
    learngene = Learngene.load(source.folder())
    ready = make(source, learngene, learngene.size(*wanted), how, out)
    entry = {"entry": keep(out, ready, name, str(ready.size)).ref} if name else {}
    numbers = {"parameters": ready.parameters, "flops": ready.flops, "fit_steps": how.fit.steps}
    return {"out": str(out), "size": ready.size.model_dump(), **numbers, **ready.scores, **entry}


def make(source: Source, learngene: Learngene, size: Size, how: Making, out: Path) -> Ready:
    """A ready model in `out`, which appears whole or not at all; `learngene` is what `source` holds."""
    dataset = _open_data(how.data, source, learngene, how) if how.data else None
    checkpoint = _expanded(learngene, size, how, dataset)
    scores = _scores(checkpoint, dataset) if dataset else {}
    if dataset:  # what the scores were measured with
        checkpoint = replace(checkpoint, preprocessing=dataset.preprocessing)
    fit = how.fit
    fitted_for = f", scalers fitted for {fit.steps} steps" if fit.steps else ""
    calibrated_on = f", calibrated on {fit.calibrate} samples" if fit.calibrate else ""
    origin = f"Started from learngene `{source.ref}`{fitted_for}{calibrated_on}."
    start = start_of(None if isinstance(source.place, Path) else source.place, learngene, size)
    with atomic_folder(out) as temporary:
        write_checkpoint(temporary, checkpoint, origin=origin, start=start, scores=scores)
        facts = {"learngene": learngene.digest, "ref": source.ref, "method": learngene.method.name}
        return seal(temporary, checkpoint.arch, **facts, options=how.options, scores=scores)


def _open_data(text: str, source: Source, learngene: Learngene, how: Making) -> "Dataset":
    from pipelines.models.fitting import open_data  # loads training code

    tokenizer = source.folder() / TOKENIZER if learngene.tokenizer else None
    return open_data(text, change_head(learngene.source, how.head), tokenizer)


def _expanded(learngene: Learngene, size: Size, how: Making, dataset: "Dataset | None") -> Checkpoint:
    """The model of `size`, fitted and calibrated where asked."""
    fit = how.fit
    if not dataset or not (fit.steps or fit.calibrate):
        return api.instantiate(learngene, size, how.head, fit.seed)
    from pipelines.models.fitting import calibrated, fit_scalers

    if fit.steps:
        learngene = fit_scalers(learngene, size, dataset, fit)
    checkpoint = api.instantiate(learngene, size, how.head, fit.seed)
    return calibrated(checkpoint, learngene, dataset, fit.calibrate) if fit.calibrate else checkpoint


def _scores(checkpoint: Checkpoint, dataset: "Dataset") -> dict[str, float]:
    from pipelines.models.fitting import score

    scores = score(checkpoint, dataset)
    for name, value in scores.items():
        if not isfinite(value):
            raise DivergedError(f"--data: the {name} of the model is {value}; with these data and this fit it is none")
    return scores


def keep(folder: Path, ready: Ready, name: str, alias: str) -> "ReadyEntry":
    """Copy a ready model into the store and register it as `name@alias`; again, it stays the version that it is."""
    from pipelines.artifacts.store import Store
    from registry.ready import copy_ready, is_whole, register_ready

    place = Store.default().root / "ready" / ready.description  # the same files may have another history
    if not is_whole(place, ready.description):
        copy_ready(folder, place)
    return register_ready(place, name, alias)


def describe_ready(ref: str) -> dict[str, Any] | None:
    """A ready model in the registry; None for a learngene."""
    if is_folder(ref):
        return None
    from registry.ready import ReadyEntry, find_any

    found = find_any(ref)
    return found.to_json() if isinstance(found, ReadyEntry) else None


def pull_folder(ref: str, out: Path | None) -> Path:
    """The verified folder of what `ref` means in the registry: in the cache of this machine, or copied to `out`."""
    from registry.ready import pull_any

    if out is None:
        return pull_any(ref)
    check_out(out)
    with atomic_folder(out) as copy:
        shutil.copytree(pull_any(ref), copy, dirs_exist_ok=True)
    return out


def export_model(folder: Path, out: Path) -> float:
    """Write the model in `folder` to the file `out`; how far its outputs are from the model's.

    Raises `BadInputError` if `out` cannot be an ONNX file, and what `read_checkpoint` and `export_onnx` raise.
    """
    from zoo.formats.onnx import export_onnx

    if out.suffix != ".onnx":
        raise BadInputError(f"--out: {out.name!r} names no format; legal is a name that ends in .onnx")
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise BadInputError(f"--out: {out} cannot be a file; choose a name in a folder that is there")
    return export_onnx(read_checkpoint(folder), out)


def condense_folder(folder: Path, method: str, options: tuple[str, ...], name: str) -> "Entry":
    """Condense a checkpoint folder into the store and register it as champion, or candidate if it has a gate."""
    from pipelines.artifacts.store import Store
    from pipelines.run.provenance import write_by_hand
    from registry.candidates import choose, gate_tags
    from registry.register import check_name
    from registry.register import register as register_entry

    chosen = _closed_form(method, options)
    check_name(name, ready=False)
    began = monotonic()
    learngene = api.condense(read_checkpoint(folder), chosen)
    place = Store.default().root / "learngenes" / learngene.digest
    learngene.save(place)
    sha = write_by_hand(place, monotonic() - began)
    tags = {"made-by": "condense", "provenance": sha, **gate_tags(name)}
    return choose(register_entry(place, name, metrics={}, tags=tags))


def head_fields(options: tuple[str, ...]) -> dict[str, Any]:
    """The fields of `--head`. Raises `BadInputError` for what is not FIELD=VALUE, or a value that is not valid YAML."""
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
