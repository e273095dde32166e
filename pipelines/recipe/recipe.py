"""What a recipe may say: stages, what is registered, and the bench that compares starts."""

from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import Annotated, Any

from pydantic import Field, PrivateAttr, field_validator

from pipelines.recipe.bench import Bench
from pipelines.recipe.stages import Name, Ref, Stage, Strict, inputs
from registry.gate import TAG, Gate
from trainers.data.config import Data

TAKEN = ("recipe", "stage", "key", "task", "provenance", TAG)
"""Tags that every version gets from its recipe."""


class Registration(Ref):
    """The learngene of a stage as a version of a name. Nothing here is part of the stage's identity.

    gate: what benches must have measured before a version becomes the champion; until then it is the candidate.
    task: what `zoo find --task` looks for, beside the words of the recipe's name.
    tags: what `zoo find --tag` looks for.
    """

    gate: Gate | None = None
    task: Annotated[str, Field(min_length=1)] | None = None
    tags: dict[Name, str] = Field(default_factory=dict)

    @field_validator("tags")
    @classmethod
    def _tags_are_free(cls, tags: dict[str, str]) -> dict[str, str]:
        for key in tags:
            if key in TAKEN or key.startswith(("learngene.", "mlflow.")):
                taken = f"{', '.join(TAKEN)}, and all that begin with learngene. or mlflow."
                raise ValueError(f"{key!r} is taken; not legal are {taken}")
        return tags


@dataclass(frozen=True)
class Written:
    """The text of a recipe's file and the overrides; empty where it was made in Python. No part of what it says."""

    text: str = field(default="", compare=False)
    overrides: tuple[str, ...] = field(default=(), compare=False)


class Recipe(Strict):
    """A family on some data, the stages that make learngenes of it, and the names they are registered under."""

    name: Name
    family: str
    config: Annotated[dict[str, Any], Field(default_factory=dict)]
    data: Data
    stages: Annotated[dict[Name, Stage], Field(min_length=1)]
    entries: dict[Name, Registration] = Field(default_factory=dict, alias="register")
    bench: Bench | None = None
    _written: Written = PrivateAttr(default_factory=Written)

    @property
    def written(self) -> Written:
        """How it was written."""
        return self._written

    def was_written(self, text: str, overrides: tuple[str, ...]) -> "Recipe":
        """The same recipe, which knows how it was written."""
        recipe = self.model_copy()
        recipe._written = Written(text, overrides)
        return recipe

    def order(self) -> list[str]:
        """The stages' names, each after those it refers to."""
        graph = {name: sorted(inputs(stage)) for name, stage in self.stages.items()}
        return list(TopologicalSorter(graph).static_order())
