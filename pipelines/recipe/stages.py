"""The stages that a recipe may name, and what they start from: the models behind the YAML."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, NonNegativeFloat, PositiveFloat, Tag, model_validator

from trainers.calibration import Calibration
from trainers.config import Execution, Share, Training
from zoo.methods import AnyClosedForm
from zoo.methods.front import Front
from zoo.methods.kronecker import Kronecker
from zoo.methods.mupscaling import MuPScaling
from zoo.size import Size

Loc = tuple[int | str, ...]
"""The place of a value in nested mappings and lists."""
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
Gives = Literal["checkpoint", "learngene", "settings", "scores"]


class Strict(BaseModel):
    """Frozen, and no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Ref(Strict):
    """The result of another stage."""

    stage: str


class Folder(Strict):
    """A folder on disk: a checkpoint of timm or transformers, or a learngene. Its content counts, not its path."""

    folder: Path


class Registered(Strict):
    """A learngene in the registry: `NAME`, `NAME@alias` or `NAME:version`."""

    entry: str


def _kind_of_source(value: Any) -> str | None:
    fields = value if isinstance(value, dict) else getattr(value, "model_fields_set", ())
    return next((name for name in ("stage", "folder", "entry") if name in fields), None)


Source = Annotated[
    Annotated[Ref, Tag("stage")] | Annotated[Folder, Tag("folder")] | Annotated[Registered, Tag("entry")],
    Discriminator(
        _kind_of_source,
        custom_error_type="source",
        custom_error_message="one of {stage: NAME}, {folder: PATH} and {entry: NAME@alias} is wanted",
    ),
]
"""What a stage starts from. A learngene in the place of weights stands for the model at the size it was made at."""


class _TrainStage(Strict):
    size: Size
    train: Training
    resources: Execution = Execution()


class Pretrain(_TrainStage):
    """Train a plain model at one size: an ancestor, or a model that starts from a learngene or a checkpoint.

    `keep_optimizer` keeps the optimizer's state beside the weights, for a `widen` stage to carry on.
    """

    gives: ClassVar[Gives] = "checkpoint"
    run: Literal["pretrain"]
    start: Source | None = None
    keep_optimizer: bool = False


class Weit(_TrainStage):
    """Train a learngene under the Kronecker constraint. `masked`: the share of steps that train a sub-model."""

    gives: ClassVar[Gives] = "learngene"
    run: Literal["weit"]
    method: Kronecker = Kronecker()
    masked: Share = 0.0


class Wave(_TrainStage):
    """Distil an ancestor into a learngene under the Kronecker constraint: task loss + KL to the ancestor's classes."""

    gives: ClassVar[Gives] = "learngene"
    run: Literal["wave"]
    method: Kronecker = Kronecker()
    masked: Share = 0.0
    ancestor: Source


class Fit(_TrainStage):
    """Fit a learngene to one size: templates stay, scalers and free tensors are trained. Gives a learngene."""

    gives: ClassVar[Gives] = "learngene"
    run: Literal["fit"]
    learngene: Source


class Refine(Strict):
    """FRONT+: train weights on, with a penalty on the frequencies that `Front(keep)` will drop.

    mask: `hard`, everything outside the kept corner; `soft`, more the higher the frequency, with decay rate `gamma`.
    share: the penalty's part of the task loss at the start.
    """

    gives: ClassVar[Gives] = "checkpoint"
    run: Literal["refine"]
    weights: Source
    keep: Annotated[float, Field(gt=0, lt=1)] = 0.5
    mask: Literal["hard", "soft"] = "hard"
    gamma: PositiveFloat = 4.0
    share: PositiveFloat = 0.05
    train: Training
    resources: Execution = Execution()


class Widen(_TrainStage):
    """mu-pscaling: widen weights and optimizer state, then train on with the scaled optimizer.

    optimizer: `carry` the state that the narrow training kept, or start `fresh`.
    tuned: a `tune` stage, whose learning rate and noise are taken unchanged.
    """

    gives: ClassVar[Gives] = "checkpoint"
    run: Literal["widen"]
    weights: Source
    method: MuPScaling = MuPScaling()
    optimizer: Literal["carry", "fresh"] = "carry"
    tuned: Ref | None = None


class Grid(Strict):
    """The values to try."""

    lr: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
    noise: Annotated[tuple[NonNegativeFloat, ...], Field(min_length=1)]


class Tune(_TrainStage):
    """mu-pscaling: choose learning rate and noise on a small pair (the narrow weights and `size`) for a large one."""

    gives: ClassVar[Gives] = "settings"
    run: Literal["tune"]
    weights: Source
    optimizer: Literal["carry", "fresh"] = "carry"
    grid: Grid


class Condense(Strict):
    """Condense trained weights in closed form. Gives a learngene."""

    gives: ClassVar[Gives] = "learngene"
    run: Literal["condense"]
    method: AnyClosedForm = Front()
    weights: Source


class Trial(_TrainStage):
    """Train a plain model and note how its scores rise: what comparisons are made of (see `zoo bench`).

    start: a learngene, or a checkpoint of this size (null: scratch, or what `widen` makes).
    widen: `start` is a narrower checkpoint, which mu-pscaling widens; the optimizer is scaled along.
    score_at: after which shares of the steps held-out samples are scored; the test split once, at the end.
    calibrate: first mend the start in closed form, on a few samples, so that it does what `ancestor` does.
    keep: keep the trained model, in `model/` of the result.
    """

    gives: ClassVar[Gives] = "scores"
    run: Literal["trial"]
    start: Source | None = None
    widen: MuPScaling | None = None
    calibrate: Calibration | None = None
    ancestor: Source | None = None
    score_at: tuple[Share, ...] = ()
    keep: bool = False

    @model_validator(mode="after")
    def _starts_are_whole(self) -> "Trial":
        if self.widen and self.start is None:
            raise ValueError("widen needs a start: the narrower checkpoint")
        if (self.calibrate is None) != (self.ancestor is None) or (self.calibrate and (self.widen or not self.start)):
            raise ValueError("calibrate needs a start and an ancestor, and no widen")
        return self


class Score(Strict):
    """Score trained weights on the test split."""

    gives: ClassVar[Gives] = "scores"
    run: Literal["score"]
    weights: Source
    resources: Execution = Execution()


Stage = Annotated[
    Pretrain | Weit | Wave | Fit | Refine | Widen | Tune | Condense | Trial | Score,
    Field(discriminator="run"),
]


def sources(value: Any, at: Loc = ()) -> Iterator[tuple[Loc, Ref | Folder | Registered]]:
    """All sources in a config, wherever they stand, with their place."""
    if isinstance(value, Ref | Folder | Registered):
        yield at, value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from sources(getattr(value, name), (*at, name))
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from sources(item, (*at, name))
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from sources(item, (*at, i))


def inputs(stage: Stage) -> set[str]:
    """The stages that a stage starts from."""
    return {source.stage for _, source in sources(stage) if isinstance(source, Ref)}
