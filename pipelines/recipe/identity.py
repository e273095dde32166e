"""Stage keys: what a stage is, as a hash. Equal keys, equal results.

A key covers the stage's function and its version, its config, the versions of its method and of the family, the data's
content, and what it starts from: keys of other stages, digests of folders and registry entries. Where it runs
(`resources`), the names of stages and paths are not part of it. What is null is left out, so a new field that is null
unless given leaves old keys as they are.
"""

from typing import Any

from pipelines.recipe.recipe import Recipe
from pipelines.recipe.sources import identify
from pipelines.recipe.stages import Condense, Loc, Stage, sources
from trainers.data.identity import identity as data_identity
from zoo.families import FAMILIES, configure
from zoo.files import digest_json
from zoo.methods.base import Method

VERSIONS = {
    "pretrain": 3,
    "weit": 3,
    "wave": 2,
    "fit": 2,
    "refine": 2,
    "widen": 2,
    "tune": 2,
    "condense": 3,
    "trial": 1,
    "score": 1,
}
"""Raise a version when the function of a stage comes to mean something else: its results are then made anew."""


def stage_keys(recipe: Recipe) -> dict[str, str]:
    """The key (SHA-256, hex) of every stage, in the order of running."""
    keys: dict[str, str] = {}
    for name in recipe.order():
        keys[name] = digest_json(describe(recipe, recipe.stages[name], keys))
    return keys


def describe(recipe: Recipe, stage: Stage, keys: dict[str, str]) -> dict[str, Any]:
    """What a stage's key is the hash of: `function`, `config`, `inputs` (identities by the place of the source)."""
    config = stage.model_dump(mode="json", exclude={"resources"}, exclude_none=True)
    for field in ("method", "widen"):
        method = getattr(stage, field, None)
        if isinstance(method, Method) and method.version > 1:
            config[field]["version"] = method.version
    inputs: dict[str, str] = {}
    for loc, source in sources(stage):
        _remove(config, loc)
        inputs[".".join(map(str, loc))] = identify(source, keys)
    if not isinstance(stage, Condense):  # closed forms see weights only
        shared = configure(recipe.family, recipe.config).model_dump(mode="json", exclude_none=True)
        config |= {"on": {"family": recipe.family, "config": shared, "data": data_identity(recipe.data)}}
    if (version := FAMILIES[recipe.family].version) > 1:
        config["family_version"] = version
    return {"function": f"{stage.run}/{VERSIONS[stage.run]}", "config": config, "inputs": inputs}


def _remove(config: Any, loc: Loc) -> None:
    *parents, last = loc
    at = config
    for part in parents:
        at = at[part]
    del at[last]
