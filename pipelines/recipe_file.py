"""Reading a recipe: every mistake names the file, the line, the field and what is legal."""

from collections.abc import Iterator
from graphlib import CycleError
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from pipelines.recipe import Condense, Loc, Pretrain, Recipe, Weit, references
from pipelines.yaml_source import YamlSource
from trainers.engines import NO_ZERO_3, micro_batches
from zoo.errors import BadInputError
from zoo.families import architecture

Mistake = tuple[Loc, str]
UNRESOLVED = "default_factory_not_called"
"""Pydantic's complaint about a default that depends on a field which is wrong itself."""


def load_recipe(path: Path, overrides: tuple[str, ...] = ()) -> Recipe:
    """Read a recipe and check all of it. Raises `BadInputError` with every mistake, a line each."""
    source = YamlSource(path, overrides)
    try:
        recipe = Recipe.model_validate(source.content)
    except ValidationError as error:
        lines = [_explain(source, dict(mistake)) for mistake in error.errors() if mistake["type"] != UNRESOLVED]
        raise BadInputError("\n".join(lines)) from error
    lines = [f"{source.place(loc)}: {'.'.join(map(str, loc))}: {text}" for loc, text in _mistakes(recipe)]
    if lines:
        raise BadInputError("\n".join(dict.fromkeys(lines)))
    return recipe


def _mistakes(recipe: Recipe) -> Iterator[Mistake]:
    """What single fields cannot show: references, cycles, sizes that a method or an engine cannot do."""
    wrong_references = list(_reference_mistakes(recipe))
    yield from wrong_references
    if wrong_references:
        return  # the checks below follow references
    if not recipe.data.validation:
        yield ("data", "validation"), "0, but stages are scored on these samples; legal values: above 0, up to 0.5"
    for name, ref in recipe.entries.items():
        if isinstance(recipe.stages[ref.stage], Pretrain):
            yield ("register", name), f"stage {ref.stage!r} gives a checkpoint, not a learngene"
    for name, stage in recipe.stages.items():
        if not isinstance(stage, Condense):
            yield from _training_mistakes(recipe, name, stage)
        elif not isinstance(recipe.stages[stage.weights.stage], Pretrain):
            yield ("stages", name, "weights"), f"stage {stage.weights.stage!r} gives no trained weights"


def _reference_mistakes(recipe: Recipe) -> Iterator[Mistake]:
    for loc, ref in references(recipe):
        if ref.stage not in recipe.stages:
            place = ("register", *loc[1:]) if loc[0] == "entries" else loc
            yield (
                (*place, "stage"),
                f"there is no stage {ref.stage!r}; legal values: {', '.join(recipe.stages)}",
            )
    try:
        recipe.order()
    except CycleError as error:
        yield (
            ("stages",),
            f"the stages wait for each other in a circle: {' -> '.join(reversed(error.args[1]))}",
        )


def _training_mistakes(recipe: Recipe, name: str, stage: Pretrain | Weit) -> Iterator[Mistake]:
    here: Loc = ("stages", name)
    try:
        arch = architecture(recipe.family, recipe.config, stage.size)
    except BadInputError as error:
        field, _, text = str(error).partition(": ")
        yield tuple(field.split(".")), text
        return
    data, config = recipe.data, arch.config.model_dump()
    for field, have in (
        ("img_size", data.image_size),
        ("num_classes", data.classes),
        ("in_chans", data.channels),
    ):
        if config[field] != have:
            yield ("config", field), f"{config[field]}, but the data have {have}"
    if isinstance(stage, Weit):
        try:
            stage.method.legal(arch).check(stage.size)
        except BadInputError as error:
            yield (*here, "size"), str(error)
    execution = stage.resources
    if execution.zero == 3 and isinstance(stage, Weit):
        yield (*here, "resources", "zero"), NO_ZERO_3
    try:
        micro_batches(stage.train.batch, execution.micro_batch, execution.workers)
    except BadInputError as error:
        yield (*here, "train", "batch"), str(error)


def _explain(source: YamlSource, mistake: dict[str, Any]) -> str:
    loc: Loc = mistake["loc"]
    text = mistake["msg"].removeprefix("Value error, ")
    if mistake["type"] == "extra_forbidden":
        text = f"unknown field; legal fields: {', '.join(_fields(Recipe, loc[:-1]))}"
    elif mistake["type"] == "union_tag_not_found":
        text = f"field {mistake['ctx']['discriminator']} is missing"
    elif "input" in mistake and mistake["type"] != "missing" and not isinstance(mistake["input"], dict | list):
        text += f" (got {mistake['input']!r})"
    shown = _visible(source, loc)
    return f"{source.place(shown)}: {'.'.join(map(str, shown))}: {text}"


def _visible(source: YamlSource, loc: Loc) -> Loc:
    """`loc` without the names of union members that pydantic puts in."""
    shown: list[int | str] = []
    at: Any = source.content
    for i, part in enumerate(loc):
        if isinstance(at, dict) and part not in at and i + 1 < len(loc):
            continue
        shown.append(part)
        at = at.get(part) if isinstance(at, dict) else None
    return tuple(shown)


def _fields(annotation: Any, loc: Loc) -> list[str]:
    """The fields of the model that `loc` leads to, through dictionaries and members of unions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not loc:
            return [field.alias or name for name, field in annotation.model_fields.items()]
        by_name = {field.alias or name: field.annotation for name, field in annotation.model_fields.items()}
        return _fields(by_name[str(loc[0])], loc[1:])
    members = get_args(annotation)
    if get_origin(annotation) is dict:
        return _fields(members[1], loc[1:])
    if get_origin(annotation) is Annotated:
        return _fields(members[0], loc)
    # A union: pydantic puts the discriminator's value into the place of an error.
    chosen = next(m for m in members if any(loc[0] in get_args(f.annotation) for f in m.model_fields.values()))
    return _fields(chosen, loc[1:])
