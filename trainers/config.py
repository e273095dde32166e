"""The settings of training: what is learned (`Training`, part of a stage's identity) and where (`Execution`, not)."""

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

Share = Annotated[float, Field(ge=0, le=1)]


def _custom(name: str) -> str:
    if name in ("CPU", "GPU", "memory", "object_store_memory"):
        raise ValueError(f"{name!r} is a resource with a field of its own; legal: names that nodes were started with")
    return name


CustomResource = Annotated[str, Field(min_length=1), AfterValidator(_custom)]


class Training(BaseModel):
    """How a model is trained: linear warm-up, cosine to zero.

    Give either `epochs` or `steps`. `batch` is the global batch whatever the number of workers; `warmup` a share of
    all steps; `clip` the largest gradient norm (null: no clipping); `evaluate_every` in steps (null: at the end).
    `weight_decay` is decoupled for adamw, part of the gradient for adam and sgd; `betas` belong to the Adams,
    `momentum` to sgd.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: PositiveFloat | None = None
    steps: PositiveInt | None = None
    batch: PositiveInt = 128
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: PositiveFloat = 1e-3
    warmup: Share = 0.05
    weight_decay: NonNegativeFloat = 0.05
    betas: tuple[Share, Share] = (0.9, 0.999)
    momentum: Share = 0.9
    clip: PositiveFloat | None = 1.0
    label_smoothing: Share = 0.0
    precision: Literal["fp32", "bf16"] = "fp32"
    evaluate_every: PositiveInt | None = None
    seed: int = 0

    @model_validator(mode="after")
    def _one_length(self) -> "Training":
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give either epochs or steps")
        return self

    def total_steps(self, steps_per_epoch: int) -> int:
        """How many optimizer steps this training takes."""
        return self.steps or max(1, round((self.epochs or 0) * steps_per_epoch))


class Execution(BaseModel):
    """Where and how a training runs. Nothing here changes what is learned (but for the order of sums).

    With `min_workers` the group is elastic: it runs on as many of `workers` as there is room for, at least on so many.
    `nodes` is 1 (all workers on one node), or as many as `workers` (each on its own); null: wherever there is room.
    `memory` of one worker ("4GiB") and `custom` (what nodes were started with: {A100: 1}) are reserved with the CPUs.
    `micro_batch` is the largest batch one worker computes at once; the rest is accumulated. `zero` is DeepSpeed's
    ZeRO stage: 0-2 for any parametrization, 3 for plain models. `activation_checkpointing` saves memory by computing
    the activations of each layer twice, for the families that offer it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    workers: PositiveInt = 1
    min_workers: PositiveInt | None = None
    nodes: PositiveInt | None = None
    cpus_per_worker: PositiveInt = 1
    gpus_per_worker: Annotated[int, Field(ge=0, le=1)] = 0
    memory: Annotated[ByteSize, Field(gt=0)] | None = None
    custom: dict[CustomResource, PositiveFloat] = Field(default_factory=dict)
    engine: Literal["torch", "deepspeed"] = "torch"
    zero: Literal[0, 1, 2, 3] = 0
    micro_batch: PositiveInt | None = None
    activation_checkpointing: bool = False
    checkpoint_every: PositiveInt = 200

    @model_validator(mode="after")
    def _at_most_all(self) -> "Execution":
        if self.min_workers and self.min_workers > self.workers:
            raise ValueError(f"min_workers is {self.min_workers}, workers {self.workers}; legal: 1 to {self.workers}")
        return self

    @model_validator(mode="after")
    def _one_node_or_all(self) -> "Execution":
        if self.nodes not in (None, 1, self.workers):
            raise ValueError(f"nodes is {self.nodes}, workers {self.workers}; legal: 1, {self.workers} or null")
        if self.nodes and self.min_workers:
            raise ValueError("nodes does not go with min_workers: an elastic group takes the room that there is")
        return self

    @model_validator(mode="after")
    def _zero_needs_deepspeed(self) -> "Execution":
        if self.zero and self.engine != "deepspeed":
            raise ValueError("zero needs engine: deepspeed")
        return self
