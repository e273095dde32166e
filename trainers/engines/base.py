"""What an engine is: forward, backward and optimizer step over all workers, and its state on disk."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainers.config import Execution, Training
from trainers.inputs import Inputs
from trainers.objectives import Objective
from trainers.parametrization import Parametrization
from trainers.scaled import scale_optimizer_
from trainers.world import World
from zoo.errors import BadInputError

NO_ZERO_3 = (
    "3 is not possible for a learngene: ZeRO 3 gathers the parameters of one module at a time, but weights are "
    "composed from all templates at once; legal values: 0, 1, 2"
)
NO_SCALED_CLIP = (
    "deepspeed clips by the norm of the wide gradients, but a widened model must be clipped by the narrow model's; "
    "legal: engine: torch, or train.clip: null"
)
NO_OPTIMIZER_STATE = "only the torch engine can hand over or take on an optimizer's state; legal values: torch"


class Engine(ABC):
    """Runs a parametrization's training over all workers of a world."""

    def __init__(
        self, module: Parametrization, training: Training, execution: Execution, world: World, parts: int
    ) -> None:
        """Take hold of `module`; every optimizer step will see `parts` micro-batches."""
        self.module, self.training, self.execution, self.world, self.parts = (
            module,
            training,
            execution,
            world,
            parts,
        )

    @abstractmethod
    def forward(self, x: Inputs) -> Tensor:
        """The module's output, in the precision of the settings."""

    @abstractmethod
    def accumulate(self, x: Inputs, y: Tensor, objective: Objective, part: int) -> Tensor:
        """Add the gradients of micro-batch `part` (summed over all parts: those of the mean loss); its loss."""

    @abstractmethod
    def step(self, lr: float) -> float:
        """Clip, update at learning rate `lr`, clear the gradients; the gradient norm before clipping."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the state of this worker (all workers call it with one folder)."""

    @abstractmethod
    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""

    def optimizer_state(self) -> dict[str, dict[str, Tensor]]:
        """The optimizer's state by parameter and field, e.g. `exp_avg`. Raises `BadInputError` where it is sharded."""
        raise BadInputError(f"resources.engine: {NO_OPTIMIZER_STATE}")

    def adopt(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Go on from another optimizer's state (see `optimizer_state`)."""
        raise BadInputError(f"resources.engine: {NO_OPTIMIZER_STATE}")

    def gathered(self) -> AbstractContextManager[object]:
        """Inside, the first worker's module holds whole parameters (they are sharded only by ZeRO 3)."""
        return nullcontext()

    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer of the settings, over the module's parameter groups, scaled where the module was widened."""
        settings = self.training
        groups = self.module.groups(settings.weight_decay)
        optimizer: torch.optim.Optimizer
        match settings.optimizer:
            case "adamw":
                optimizer = torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas, fused=True)
            case "adam":
                optimizer = torch.optim.Adam(groups, lr=settings.lr, betas=settings.betas, fused=True)
            case "sgd":
                optimizer = torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum)
        if self.module.multipliers:
            scale_optimizer_(optimizer, self.module.multipliers)
        return optimizer


def set_lr(optimizer: Any, lr: float) -> None:
    """The learning rate of the next step; groups of a widened model have their share of it."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)
