"""What an engine is: forward, backward and optimizer step over all workers, and its whole state."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from trainers.config import Execution, Training
from trainers.inputs import Inputs
from trainers.objectives import Objective
from trainers.parametrization import Parametrization
from trainers.scaled import scale_optimizer_
from trainers.world import World

NO_ZERO_3 = (
    "3 is not possible for a learngene: ZeRO 3 gathers the parameters of one module at a time, but weights are "
    "composed from all templates at once; legal values: 0, 1, 2"
)
NO_SCALED_CLIP = (
    "deepspeed clips by the norm of the wide gradients, but a widened model must be clipped by the narrow model's; "
    "legal: engine: torch, or train.clip: null"
)
MODULE, OPTIMIZER = "module", "optimizer"
"""What the names of a state's tensors begin with."""
OptimizerState = Iterable[tuple[str, Mapping[str, Tensor]]]
"""Parameter by parameter, the state of each by field, e.g. `exp_avg`."""


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
    def accumulate(self, x: Inputs, y: Tensor, objective: Objective, part: int, weight: float) -> Tensor:
        """Add the gradients of micro-batch `part`; its loss.

        `weight` is its share of this worker's mean, 1 over the number of parts if all are equally large. Summed over
        parts and averaged over workers, the gradients are those of the mean over the global batch.
        """

    @abstractmethod
    def step(self, lr: float) -> float:
        """Clip, update at learning rate `lr`, clear the gradients; the gradient norm before clipping."""

    @abstractmethod
    def optimizer_state(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """The whole state of every trained parameter; all workers walk through it together."""

    @abstractmethod
    def adopt(self, state: OptimizerState) -> None:
        """Go on from another optimizer's state, whatever engine it is from; takes copies."""

    def gathered(self, *tensors: Tensor) -> AbstractContextManager[object]:
        """Inside, these tensors (default: all parameters) are whole; they are sharded only by ZeRO 3."""
        return nullcontext()

    def state(self) -> Iterator[tuple[str, Tensor]]:
        """All that a checkpoint holds, tensor by tensor; all workers walk through it together."""
        named = self.module.state_dict(keep_vars=True)
        for name in {id(tensor): name for name, tensor in reversed(named.items())}.values():  # tied tensors once
            with self.gathered(named[name]):
                yield f"{MODULE}/{name}", named[name]
        for name, fields in self.optimizer_state():
            for field, tensor in fields.items():
                yield f"{OPTIMIZER}/{name}/{field}", tensor

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


def adopt_(optimizer: torch.optim.Optimizer, named: Mapping[str, Tensor], state: OptimizerState) -> None:
    """Give an optimizer copies of another one's state, each field on its parameter's device."""
    for name, fields in state:
        device = named[name].device
        copies = {field: tensor.detach().to(device, copy=True) for field, tensor in fields.items()}
        optimizer.state[named[name]] = copies
