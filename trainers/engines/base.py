"""What an engine is: forward, backward and optimizer step over all workers, and its state on disk."""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from torch import Tensor

from trainers.config import Execution, Training
from trainers.objectives import Objective
from trainers.parametrization import Parametrization
from trainers.world import World

NO_ZERO_3 = (
    "3 is not possible for a learngene: ZeRO 3 gathers the parameters of one module at a time, but weights are "
    "composed from all templates at once; legal values: 0, 1, 2"
)


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
    def forward(self, x: Tensor) -> Tensor:
        """The module's output, in the precision of the settings."""

    @abstractmethod
    def accumulate(self, x: Tensor, y: Tensor, objective: Objective, part: int) -> Tensor:
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

    def gathered(self) -> AbstractContextManager[object]:
        """Inside, the first worker's module holds whole parameters (they are sharded only by ZeRO 3)."""
        return nullcontext()

    def optimizer(self) -> torch.optim.AdamW:
        """The optimizer of the settings, over the module's parameter groups."""
        settings = self.training
        return torch.optim.AdamW(
            self.module.groups(settings.weight_decay), lr=settings.lr, betas=settings.betas, fused=True
        )
