"""What a recipe may say: stages, what is registered, and the bench that compares starts."""

from graphlib import TopologicalSorter
from typing import Annotated, Any

from pydantic import Field

from pipelines.bench.spec import Bench
from pipelines.recipe_stages import Name, Ref, Stage, Strict, inputs
from trainers.data.config import Data


class Recipe(Strict):
    """A family on some data, the stages that make learngenes of it, and the names they are registered under."""

    name: Name
    family: str
    config: Annotated[dict[str, Any], Field(default_factory=dict)]
    data: Data
    stages: Annotated[dict[Name, Stage], Field(min_length=1)]
    entries: dict[Name, Ref] = Field(default_factory=dict, alias="register")
    bench: Bench | None = None

    def order(self) -> list[str]:
        """The stages' names, each after those it refers to."""
        graph = {name: sorted(inputs(stage)) for name, stage in self.stages.items()}
        return list(TopologicalSorter(graph).static_order())
