"""Mistakes of a recipe that no single field shows: references, cycles, sizes that a method or an engine cannot do."""

from collections.abc import Iterator
from graphlib import CycleError
from typing import Any

from pipelines.recipe.bench import Bench
from pipelines.recipe.gates import gate_mistakes
from pipelines.recipe.matching import mismatches
from pipelines.recipe.recipe import Recipe
from pipelines.recipe.sources import holds_something, origin
from pipelines.recipe.stages import (
    Condense,
    Fit,
    Folder,
    Loc,
    Pretrain,
    Ref,
    Refine,
    Score,
    Source,
    Stage,
    Trial,
    Tune,
    Wave,
    Weit,
    Widen,
    sources,
)
from trainers.config import Execution, Training
from trainers.engines import NO_SCALED_CLIP, NO_ZERO_3, micro_batches
from zoo.errors import BadInputError
from zoo.families import FAMILIES, architecture, configure
from zoo.methods.base import Fitted, Method
from zoo.methods.mupscaling import MuPScaling

Mistake = tuple[Loc, str]
WANTED = {
    "start": "trained weights",
    "weights": "trained weights",
    "ancestor": "trained weights",
    "learngene": "learngene",
    "tuned": "settings",
}
"""What the field of a stage takes."""


def mistakes(recipe: Recipe) -> Iterator[Mistake]:
    """All of them; where references are wrong, only those, because the other checks follow references."""
    wrong_references = list(_reference_mistakes(recipe))
    yield from wrong_references
    if wrong_references:
        return
    yield from _source_mistakes(recipe)
    wrong_model = list(_model_mistakes(recipe))
    yield from wrong_model
    for name, stage in recipe.stages.items():
        if not isinstance(stage, Condense | Score):
            yield from _execution_mistakes(name, stage)
            if isinstance(stage, Widen | Tune) and stage.optimizer == "carry":
                yield from _carry_mistakes(recipe, name, stage)
            method = _made_by(recipe, stage.learngene) if isinstance(stage, Fit) else None
            if method and not isinstance(method, Fitted):
                yield ("stages", name, "learngene"), _unfitted(method)
            if not isinstance(stage, Refine) and not wrong_model:
                yield from _size_mistakes(recipe, name, stage)
    if recipe.bench and not wrong_model:
        yield from _bench_mistakes(recipe, recipe.bench)
    if not wrong_model:
        yield from gate_mistakes(recipe)


def _reference_mistakes(recipe: Recipe) -> Iterator[Mistake]:
    for loc, source in sources(recipe):
        if isinstance(source, Ref) and source.stage not in recipe.stages:
            place = ("register", *loc[1:]) if loc[0] == "entries" else loc
            yield (*place, "stage"), f"there is no stage {source.stage!r}; legal values: {', '.join(recipe.stages)}"
    try:
        recipe.order()
    except CycleError as error:
        yield ("stages",), f"the stages wait for each other in a circle: {' -> '.join(reversed(error.args[1]))}"


def _source_mistakes(recipe: Recipe) -> Iterator[Mistake]:
    for name, ref in recipe.entries.items():
        gives = recipe.stages[ref.stage].gives
        if gives != "learngene":
            yield ("register", name), f"stage {ref.stage!r} gives a {gives}, not a learngene"
    users: dict[Loc, Any] = {("stages", name): stage for name, stage in recipe.stages.items()}
    if recipe.bench:
        users |= {("bench", "starts", name): start for name, start in recipe.bench.starts.items()}
    for place, user in users.items():
        for (field, *_), source in sources(user):
            if isinstance(source, Ref) and not _fits(str(field), recipe.stages[source.stage]):
                yield (*place, str(field)), f"stage {source.stage!r} gives no {WANTED[str(field)]}"
            elif isinstance(source, Folder) and not holds_something(source.folder):
                text = f"{str(source.folder)!r} is no checkpoint folder and no learngene"
                yield (*place, str(field), "folder"), text


def _fits(field: str, stage: Stage) -> bool:
    if field in ("learngene", "tuned"):
        return stage.gives == {"learngene": "learngene", "tuned": "settings"}[field]
    return stage.gives in ("checkpoint", "learngene")  # a learngene gives the model that it was made at


def _model_mistakes(recipe: Recipe) -> Iterator[Mistake]:
    trained = recipe.bench or [stage for stage in recipe.stages.values() if not isinstance(stage, Condense)]
    if not recipe.data.validation:
        yield ("data", "validation"), "0, but stages are scored on these samples; legal values: above 0, up to 0.5"
    if not trained:
        return
    try:
        config = configure(recipe.family, recipe.config).model_dump()
    except BadInputError as error:
        field, _, text = str(error).partition(": ")
        yield tuple(field.split(".")), text
        return
    for field, text in mismatches(FAMILIES[recipe.family], config, recipe.data):
        yield ("config", field), text


def _size_mistakes(recipe: Recipe, name: str, stage: Stage) -> Iterator[Mistake]:
    here: Loc = ("stages", name)
    assert not isinstance(stage, Condense | Refine | Score)
    try:
        arch = architecture(recipe.family, recipe.config, stage.size)
        if isinstance(stage, Weit | Wave):
            stage.method.legal(arch).check(stage.size)
        elif (given := _resized(stage)) and isinstance(given[0], Ref):
            source, made_by = origin(recipe, given[0])
            method = given[1] or made_by
            if method is not None:
                method.legal(source).check(stage.size)
            elif source.size != stage.size:
                raise BadInputError(f"size: it starts from a checkpoint of {source.size}; condense that first")
    except BadInputError as error:
        yield (*here, "size"), str(error).removeprefix("size.")


def _resized(stage: Stage) -> tuple[Source, Method | None] | None:
    """What a stage brings to its size, and the method where the stage itself has one."""
    match stage:
        case Widen():
            return stage.weights, stage.method
        case Tune():
            return stage.weights, MuPScaling()
        case Trial() | Pretrain() if stage.start:
            return stage.start, stage.widen if isinstance(stage, Trial) else None
        case Fit():
            return stage.learngene, None
        case _:
            return None


def _bench_mistakes(recipe: Recipe, bench: Bench) -> Iterator[Mistake]:
    for i, size in enumerate(bench.sizes):
        try:
            architecture(recipe.family, recipe.config, size)
        except BadInputError as error:
            yield ("bench", "sizes", i), str(error).removeprefix("size.")
    for name, start in bench.starts.items():
        here: Loc = ("bench", "starts", name)
        method = start.method or _made_by(recipe, start.learngene)
        if start.fit and method and not isinstance(method, Fitted):
            yield (*here, "fit"), _unfitted(method)
        if start.fit and bench.resources.zero == 3:
            yield ("bench", "resources", "zero"), NO_ZERO_3
        if start.fit:
            yield from _batch_mistakes((*here, "fit", "batch"), start.fit, bench.resources)
        if isinstance(start.method, MuPScaling) and bench.train.clip and bench.resources.engine == "deepspeed":
            yield ("bench", "resources", "engine"), NO_SCALED_CLIP
    yield from _batch_mistakes(("bench", "train", "batch"), bench.train, bench.resources)


def _made_by(recipe: Recipe, source: Source | None) -> Method | None:
    """The method of the learngene that a stage gives (null: of none; folders and entries are looked at later)."""
    try:
        return origin(recipe, source)[1] if isinstance(source, Ref) else None
    except BadInputError:  # a wrong size, which is a mistake of that stage
        return None


def _unfitted(method: Method) -> str:
    return f"method {method.name!r} has nothing to fit to a size"


def _carry_mistakes(recipe: Recipe, name: str, stage: Widen | Tune) -> Iterator[Mistake]:
    narrow = recipe.stages[stage.weights.stage] if isinstance(stage.weights, Ref) else None
    here: Loc = ("stages", name)
    if narrow is None:
        return  # a folder or an entry is looked at when the stage runs
    if not isinstance(narrow, Pretrain) or not narrow.keep_optimizer:
        text = "only run: pretrain with keep_optimizer: true keeps the optimizer's state; or set optimizer: fresh"
        yield (*here, "weights"), text
    elif (narrow.train.optimizer == "sgd") != (stage.train.optimizer == "sgd"):
        text = f"{stage.train.optimizer} cannot carry on the state of {narrow.train.optimizer}"
        yield (*here, "train", "optimizer"), f"{text}; legal: {narrow.train.optimizer}, or optimizer: fresh"


def _execution_mistakes(name: str, stage: Stage) -> Iterator[Mistake]:
    here: Loc = ("stages", name)
    assert not isinstance(stage, Condense | Score)
    execution = stage.resources
    if execution.zero == 3 and isinstance(stage, Weit | Wave | Fit | Refine):
        yield (*here, "resources", "zero"), NO_ZERO_3
    widens = isinstance(stage, Widen | Tune) or (isinstance(stage, Trial) and stage.widen is not None)
    if widens and execution.engine == "deepspeed" and stage.train.clip:
        yield (*here, "resources", "engine"), NO_SCALED_CLIP
    yield from _batch_mistakes((*here, "train", "batch"), stage.train, execution)


def _batch_mistakes(place: Loc, training: Training, execution: Execution) -> Iterator[Mistake]:
    try:
        micro_batches(training.batch, execution.micro_batch, execution.workers)
    except BadInputError as error:
        yield place, str(error)
