"""Stage keys: what a stage is, as a hash. Equal keys, equal results.

A key covers the stage's function and its version, its config, the data's content and the keys of the stages it
refers to. Where it runs (`resources`), the names of stages and the path of the data are not part of it.
"""

from typing import Any

from pydantic import BaseModel

from pipelines.recipe import Recipe, Ref, Stage
from trainers.data.config import identity as data_identity
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
    inputs: dict[str, str] = {}
    config = _plain(stage, keys, inputs)
    config.pop("resources", None)
    if hasattr(stage, "train"):  # closed forms see weights only
        context = {"family": recipe.family, "config": recipe.config, "data": data_identity(recipe.data)}
        config |= {"on": context}
    return {"function": f"{stage.run}/{VERSIONS[stage.run]}", "config": config, "inputs": inputs}


def _plain(model: BaseModel, keys: dict[str, str], inputs: dict[str, str]) -> dict[str, Any]:
    content = model.model_dump(mode="json")
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, Ref):
            content.pop(name)
            inputs[name] = keys[value.stage]
    return content
