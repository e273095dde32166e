"""Reading a recipe: every mistake names the file, the line, the field and what is legal."""

from pathlib import Path
from types import NoneType
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError

from pipelines.recipe.checks import mistakes
from pipelines.recipe.profile import apply_profile
from pipelines.recipe.recipe import Recipe
from pipelines.recipe.stages import Loc
from pipelines.recipe.yaml_source import YamlSource, follows
from zoo.errors import BadInputError

UNRESOLVED = "default_factory_not_called"
"""Pydantic's complaint about a default that depends on a field which is wrong itself."""


def load_recipe(
    path: Path, overrides: tuple[str, ...] = (), quick: tuple[str, ...] = (), profile: Path | None = None
) -> Recipe:
    """Read a recipe and check all of it. Raises `BadInputError` with every mistake, a line each.

    The resources of a `profile` go before those of the recipe, and overrides before both.
    """
    source = YamlSource(path)
    if profile:
        apply_profile(profile, source)
    source.override("--quick", quick)
    source.override("--set", overrides)
    try:
        recipe = Recipe.model_validate(source.content)
    except ValidationError as error:
        found = [dict(mistake) for mistake in error.errors() if mistake["type"] != UNRESOLVED]
        lines = [_explain(source, mistake) for mistake in found if not follows(mistake, found)]
        raise BadInputError("\n".join(lines)) from error
    lines = [f"{source.place(loc)}: {'.'.join(map(str, loc))}: {text}" for loc, text in mistakes(recipe)]
    if lines:
        raise BadInputError("\n".join(dict.fromkeys(lines)))
    return recipe.was_written(source.text, (*quick, *overrides))


def _explain(source: YamlSource, mistake: dict[str, Any]) -> str:
    loc: Loc = mistake["loc"]
    text = mistake["msg"].removeprefix("Value error, ")
    if mistake["type"] == "extra_forbidden":
        text = f"unknown field; legal fields: {', '.join(_fields(Recipe, loc[:-1]))}"
    elif mistake["type"] == "union_tag_not_found":
        text = f"field {mistake['ctx']['discriminator']} is missing"
    elif mistake["type"] not in ("missing", "address") and not isinstance(mistake.get("input", {}), dict | list):
        text += f" (got {mistake['input']!r})"
    shown = _visible(source, loc)
    return f"{source.place(shown)}: {'.'.join(map(str, shown))}: {text}"


def _visible(source: YamlSource, loc: Loc) -> Loc:
    """`loc` without the names of union members that pydantic puts in."""
    shown: list[int | str] = []
    at: Any = source.content
    for part in loc[:-1]:
        if isinstance(at, dict) and not isinstance(at.get(part), dict | list):
            continue
        shown.append(part)
        at = at.get(part) if isinstance(at, dict) else at[int(part)] if isinstance(at, list) else None
    return (*shown, *loc[-1:])


def _fields(annotation: Any, loc: Loc) -> list[str]:
    """The fields of the model that `loc` leads to, through dictionaries and members of unions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not loc:
            return [field.alias or name for name, field in annotation.model_fields.items()]
        by_name = {field.alias or name: field.annotation for name, field in annotation.model_fields.items()}
        return _fields(by_name[str(loc[0])], loc[1:])
    members = [member for member in get_args(annotation) if member is not NoneType]
    if get_origin(annotation) is Annotated:
        return _fields(members[0], loc)
    if get_origin(annotation) in (dict, tuple):
        return _fields(members[-1] if get_origin(annotation) is dict else members[0], loc[1:])
    if len(members) == 1:  # optional
        return _fields(members[0], loc)
    # A union: pydantic puts the discriminator's value into the place of an error.
    return _fields(next(member for member in members if _has_tag(member, loc[0])), loc[1:])


def _has_tag(member: Any, tag: int | str) -> bool:
    """Whether a discriminator's value means this member of a union: by its `Tag`, or by a field that has no other."""
    if get_origin(member) is Annotated:
        return any(isinstance(mark, Tag) and mark.tag == tag for mark in get_args(member))
    return any(tag in get_args(field.annotation) for field in member.model_fields.values())
