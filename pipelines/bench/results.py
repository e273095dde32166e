"""What a bench measured: plain values that tables, plots and the registry are made from."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

from zoo.size import Size

SCRATCH = "scratch"
"""The start of a model without any learngene."""
Metric = Literal["accuracy", "eval_loss"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Point(_Frozen):
    """The score on held-out training samples (`validation`) after `step` optimizer steps and so many FLOPs."""

    step: int
    flops: float
    score: float


class Cost(_Frozen):
    """What was spent before a training: optimizer steps and FLOPs."""

    steps: int = 0
    flops: float = 0.0


class Outcome(_Frozen):
    """One training from one start, at one size, under one seed.

    points: from step 0 (before any training) to the last step.
    test: the scores on the test split, measured once, after the last step.
    once: what the learngene cost, whatever the number of sizes (its ancestor included).
    per_size: what was spent for this size alone, before the training (scalers, growth operators, calibration).
    """

    start: str
    size: Size
    seed: int
    parameters: int
    points: tuple[Point, ...]
    test: dict[str, float]
    seconds: float
    once: Cost = Cost()
    per_size: Cost = Cost()


class Skipped(_Frozen):
    """A start that does not apply at a size, and why."""

    start: str
    size: Size
    why: str


class Ancestor(_Frozen):
    """The trained model that the learngenes come from, to be marked in plots; its score on the test split."""

    name: str
    size: Size
    parameters: int
    test: dict[str, float]


class Results(_Frozen):
    """All outcomes of a bench.

    metric: which score is compared; `accuracy` rises, `eval_loss` falls.
    reference: scratch's long trainings, by size and seed; `outcomes` are the short ones, scratch's among them.
    ours: the starts that are this project's methods; the others are baselines.
    rates: the learning rates that were chosen, by start and size (`str(size)`); scratch's always are.
    about: what a reader needs to repeat this: command, hardware, versions, seeds, data, budgets.
    """

    name: str
    metric: Metric
    reference: tuple[Outcome, ...]
    outcomes: tuple[Outcome, ...]
    skipped: tuple[Skipped, ...]
    ancestors: tuple[Ancestor, ...]
    ours: tuple[str, ...]
    rates: dict[str, dict[str, float]]
    about: dict[str, str]

    @model_validator(mode="after")
    def _every_size_has_its_reference(self) -> "Results":
        assert {(o.size, o.seed) for o in self.outcomes} <= {(o.size, o.seed) for o in self.reference}
        return self

    @property
    def sizes(self) -> list[Size]:
        """The sizes, in the bench's order."""
        return list(dict.fromkeys(outcome.size for outcome in self.reference))

    @property
    def starts(self) -> list[str]:
        """The starts, in the bench's order."""
        return list(dict.fromkeys(outcome.start for outcome in self.outcomes))
