"""Stage keys: what a stage is, as a hash. Equal keys, equal results.

A key covers the stage's function and its version, its config, the data's content and the keys of the stages it
refers to. Where it runs (`resources`), the names of stages and the path of the data are not part of it.
"""

from typing import Any

from pipelines.recipe import Condense, Loc, Recipe, Stage, references
from trainers.data.config import identity as data_identity
from zoo.families import architecture
from zoo.files import digest_json

VERSIONS = {"pretrain": 1, "weit": 1, "condense": 1}
"""Raise a version when the function of a stage comes to mean something else: its results are then made anew."""


def stage_keys(recipe: Recipe) -> dict[str, str]:
    """The key (SHA-256, hex) of every stage, in the order of running."""
    keys: dict[str, str] = {}
    for name in recipe.order():
        keys[name] = digest_json(describe(recipe, recipe.stages[name], keys))
    return keys


def describe(recipe: Recipe, stage: Stage, keys: dict[str, str]) -> dict[str, Any]:
    """What a stage's key is the hash of: `function`, `config` and `inputs` (keys by the place of the reference)."""
    config = stage.model_dump(mode="json", exclude={"resources"})
    inputs: dict[str, str] = {}
    for loc, ref in references(stage):
        _remove(config, loc)
        inputs[".".join(map(str, loc))] = keys[ref.stage]
    if not isinstance(stage, Condense):  # closed forms see weights only
        arch = architecture(recipe.family, recipe.config, stage.size)
        model = {"family": recipe.family, "config": arch.config.model_dump(mode="json")}
        config |= {"on": {**model, "data": data_identity(recipe.data)}}
    return {"function": f"{stage.run}/{VERSIONS[stage.run]}", "config": config, "inputs": inputs}


def _remove(config: Any, loc: Loc) -> None:
    *parents, last = loc
    at = config
    for part in parents:
        at = at[part]
    del at[last]
