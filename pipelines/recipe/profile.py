"""Profiles: one recipe on a laptop and on a cluster. A profile says what stages get there, never what they are.

run: {pretrain: {workers: 2}}                     by what a stage does
stages: {"big-*": {workers: 8, gpus_per_worker: 1}}   by its name, also with * and ?; these come after the others
"""

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, get_args

from pydantic import Field, ValidationError

from pipelines.recipe.stages import Stage, Strict
from pipelines.recipe.yaml_source import YamlSource
from trainers.config import Execution
from zoo.errors import BadInputError

KINDS = {
    get_args(stage.model_fields["run"].annotation)[0]: "resources" in stage.model_fields
    for stage in get_args(get_args(Stage)[0])
}
"""What stages do, and whether they take resources."""


class Profile(Strict):
    """The fields of `resources`, by the kind of stage and by the names of stages."""

    run: dict[str, dict[str, Any]] = Field(default_factory=dict)
    stages: dict[str, dict[str, Any]] = Field(default_factory=dict)


def apply_profile(path: Path, recipe: YamlSource) -> None:
    """Put the resources of a profile into a recipe. Raises `BadInputError` with the line in the profile."""
    source = YamlSource(path, "profile")
    profile = _read(source)
    stages = recipe.content.get("stages")
    for name, stage in stages.items() if isinstance(stages, dict) else ():
        kind = stage.get("run") if isinstance(stage, dict) else None
        if not KINDS.get(kind):
            continue
        matching = [("run", given) for given in profile.run if given == kind]
        matching += [("stages", pattern) for pattern in profile.stages if fnmatchcase(name, pattern)]
        for group, which in matching:
            for field, value in getattr(profile, group)[which].items():
                recipe.put(("stages", name, "resources", field), value, source.place((group, which, field)))


def _read(source: YamlSource) -> Profile:
    try:
        profile = Profile.model_validate(source.content)
    except ValidationError as error:
        lines = [
            f"{source.place(each['loc'])}: {'.'.join(map(str, each['loc']))}: {_say(each)}" for each in error.errors()
        ]
        raise BadInputError("\n".join(lines)) from error
    with_resources = [kind for kind, takes in KINDS.items() if takes]
    legal = ", ".join(Execution.model_fields)
    wrong = [
        f"{source.place(('run', kind))}: run.{kind}: no such kind with resources; legal: {', '.join(with_resources)}"
        for kind in profile.run
        if kind not in with_resources
    ]
    for group in ("run", "stages"):
        for which, fields in getattr(profile, group).items():
            wrong += [
                f"{source.place((group, which, field))}: {group}.{which}.{field}: unknown field; legal fields: {legal}"
                for field in fields
                if field not in Execution.model_fields
            ]
    if wrong:
        raise BadInputError("\n".join(wrong))
    return profile


def _say(mistake: Any) -> str:
    if mistake["type"] == "extra_forbidden":
        return f"unknown field; legal fields: {', '.join(Profile.model_fields)}"
    return f"{mistake['msg']} (got {mistake['input']!r})"
