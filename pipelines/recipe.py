"""What a recipe may say: the models behind the YAML, and how stages refer to each other."""

from collections.abc import Iterator
from graphlib import TopologicalSorter
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from trainers.config import Execution, Share, Training
from trainers.data.config import Data
from zoo.methods.front import Front
from zoo.methods.kronecker import Kronecker
from zoo.size import Size

Loc = tuple[int | str, ...]
"""The place of a value in nested mappings and lists."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Ref(_Strict):
    """The result of another stage."""

    stage: str


class _TrainStage(_Strict):
    size: Size
    train: Training
    resources: Execution = Execution()


class Pretrain(_TrainStage):
    """Train an ancestor: a plain model at one size. Gives a checkpoint folder."""

    run: Literal["pretrain"]


class Weit(_TrainStage):
    """Train a learngene under the Kronecker constraint. `masked`: the share of steps that train a sub-model."""

    run: Literal["weit"]
    method: Kronecker = Kronecker()
    masked: Share = 0.0


class Condense(_Strict):
    """Condense trained weights in closed form. Gives a learngene."""

    run: Literal["condense"]
    method: Front = Front()
    weights: Ref


Stage = Annotated[Pretrain | Weit | Condense, Field(discriminator="run")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]


class Recipe(_Strict):
    """A family on some data, the stages that make learngenes of it, and the names they are registered under."""

    name: Name
    family: str
    config: dict[str, Any] = {}
    data: Data
    stages: Annotated[dict[Name, Stage], Field(min_length=1)]
    entries: dict[Name, Ref] = Field(default={}, alias="register")

    def order(self) -> list[str]:
        """The stages' names, each after those it refers to."""
        graph = {name: sorted(ref.stage for _, ref in references(stage)) for name, stage in self.stages.items()}
        return list(TopologicalSorter(graph).static_order())


def references(value: Any, at: Loc = ()) -> Iterator[tuple[Loc, Ref]]:
    """All references in a config, wherever they stand, with their place."""
    if isinstance(value, Ref):
        yield at, value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from references(getattr(value, name), (*at, name))
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from references(item, (*at, name))
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from references(item, (*at, i))
