"""What the verbs of the command line do, as functions that return plain results."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import TypeAdapter, ValidationError

from pipelines.recipe_file import load_recipe
from pipelines.runner import StageStatus, plan, register, run
from pipelines.show import live_stages, progress_bar
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
from zoo.families import architecture
from zoo.manifest import MANIFEST, verify
from zoo.methods.base import ClosedForm, Trained

if TYPE_CHECKING:
    from registry.entries import Entry


@dataclass(frozen=True)
class RunResult:
    """What a run of a recipe did."""

    stages: list[StageStatus]
    entries: "list[Entry]"

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        stages = [row.__dict__ for row in self.stages]
        return {"stages": stages, "entries": [entry.to_json() for entry in self.entries]}


def plan_recipe(path: Path, overrides: tuple[str, ...]) -> list[StageStatus]:
    """The stages of a recipe and what is done of them."""
    return plan(load_recipe(path, overrides), Store.default())


def run_recipe(path: Path, overrides: tuple[str, ...], address: str) -> RunResult:
    """Run a recipe to its end and register what it names. Ray starts when the first stage needs it."""
    from contextlib import ExitStack

    recipe, store = load_recipe(path, overrides), Store.default()
    rows = plan(recipe, store)
    with ExitStack() as stack:
        clusters: list[Any] = []

        def connect_once() -> Any:
            if not clusters:
                from infra.cluster import connect

                clusters.append(stack.enter_context(connect(address)))
            return clusters[0]

        on_change = stack.enter_context(live_stages(rows, store))
        run(recipe, store, rows, connect_once, on_change)
    return RunResult(rows, register(recipe, store, rows))


def describe_learngene(ref: str) -> dict[str, Any]:
    """The manifest of a learngene; of a registered one also its name, aliases, scores and place."""
    if (Path(ref) / MANIFEST).is_file():
        manifest, entry = verify(Path(ref)), {}
    else:
        from registry.entries import find_entry
        from registry.pull import pull

        found = find_entry(ref)
        manifest = verify(pull(found.ref))
        entry = {
            key: found.to_json()[key] for key in ("name", "version", "aliases", "metrics", "tags", "created", "uri")
        }
    arch = architecture(manifest.family, manifest.config, manifest.size)
    model = {"model_parameters": arch.parameters(), "model_flops": arch.flops()}
    return {**entry, "digest": manifest.digest, **manifest.model_dump(mode="json"), **model}


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
    learngene = api.find(ref)
    size = learngene.size(*wanted)
    dataset = Dataset.open(_data(data, learngene), "test") if data else None
    if fit.steps and dataset:
        learngene = fit_scalers(learngene, size, dataset, fit)
    checkpoint = api.instantiate(learngene, size)
    scores = _score(checkpoint, dataset) if dataset else {}
    origin = f"Started from learngene `{ref}`" + (f", scalers fitted for {fit.steps} steps." if fit.steps else ".")
    preprocessing = dataset.preprocessing if dataset else None
    save_checkpoint(out, checkpoint.arch, checkpoint.weights, origin=origin, preprocessing=preprocessing)
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
    from zoo.methods import CLOSED_FORMS

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
