"""What a recipe says about its bench: which starts are compared, at which sizes, and how they are trained."""

from typing import Annotated, Any

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from pipelines.recipe.stages import Name, Source, Strict
from trainers.calibration import Calibration
from trainers.config import Execution, Share, Training
from zoo.methods import AnyClosedForm
from zoo.size import Size


class Start(Strict):
    """Where models of any size start: a learngene, or trained weights that a closed form condenses.

    fit: what is particular to a size (scalers, growth operators) is fitted first, anew for every size.
    calibrate: the start of every size is mended in closed form, on a few samples, to do what `weights` do.
    baseline: what people would use instead; the others are this project's methods.
    """

    learngene: Source | None = None
    weights: Source | None = None
    method: AnyClosedForm | None = None
    fit: Training | None = None
    calibrate: Calibration | None = None
    baseline: bool = False

    @model_validator(mode="after")
    def _one_source(self) -> "Start":
        if (self.learngene is None) == (self.weights is None):
            raise ValueError("give either learngene, or weights and method")
        if (self.weights is None) != (self.method is None):
            raise ValueError("weights need a method, and a method needs weights")
        if self.calibrate and (self.method is None or self.method.name == "mupscaling"):
            raise ValueError("calibrate needs weights, and a method that is not mupscaling")
        return self


class Reference(Strict):
    """The long training from scratch that every start is measured against.

    lr: the learning rates to choose from, at every size, by held-out training samples after `tune_steps` steps; scratch
        is then trained with its own best one, the long and the short way.
    """

    steps: PositiveInt
    lr: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
    tune_steps: PositiveInt | None = None

    @model_validator(mode="after")
    def _a_choice_needs_steps(self) -> "Reference":
        if len(self.lr) > 1 and self.tune_steps is None:
            raise ValueError("tune_steps is missing: how long every learning rate is tried")
        return self


class Bench(Strict):
    """Starts x sizes x seeds, each trained alike; scratch is always among them.

    train: the short training after initialisation, the same for all (but scratch has its own learning rate).
    lr: the learning rates to choose from for every start at every size, by held-out training samples at the end of the
        first seed's short training; left out, all starts have that of `train`.
    score_at: after which shares of the steps held-out training samples are scored; 0, before the first, is among them.
    keep: keep the models of the first seed; of every size the best one of ours, by held-out training samples, goes into
        `ready/` of the results.
    quick: overrides of the recipe (`{"bench.train.steps": 50}`) for `--quick`: a smaller bench of the same ranking.
    """

    sizes: Annotated[tuple[Size, ...], Field(min_length=1)]
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0, 1, 2)
    train: Training
    lr: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] | None = None
    reference: Reference
    starts: Annotated[dict[Name, Start], Field(min_length=1)]
    score_at: tuple[Share, ...] = (0.0, 0.01, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
    resources: Execution = Execution(checkpoint_every=1000)
    keep: bool = False
    quick: Annotated[dict[str, Any], Field(default_factory=dict)]

    @model_validator(mode="after")
    def _sound(self) -> "Bench":
        names = [str(size) for size in self.sizes]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"sizes: {', '.join(sorted(twice))} stands there twice; depth and width tell them apart")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: a seed stands there twice; one training would count for two")
        if 0 not in self.score_at:
            raise ValueError("score_at: 0 is missing; curves begin before the first step")
        if "scratch" in self.starts:
            raise ValueError("starts: 'scratch' is always compared, and needs no entry")
        return self
