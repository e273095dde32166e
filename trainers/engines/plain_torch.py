"""The `torch` engine: DistributedDataParallel where there are several workers, nothing but torch."""

from collections.abc import Iterator
from contextlib import nullcontext

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from trainers.config import Execution, Training
from trainers.engines.base import Engine, OptimizerState, adopt_, set_lr
from trainers.inputs import Inputs
from trainers.objectives import Objective
from trainers.parametrization import Parametrization
from trainers.scaled import scaled_clip_
from trainers.world import World


class TorchEngine(Engine):
    """Every worker holds all parameters and all optimizer state."""

    def __init__(
        self, module: Parametrization, training: Training, execution: Execution, world: World, parts: int
    ) -> None:
        super().__init__(module.to(world.device), training, execution, world, parts)
        self._call = DistributedDataParallel(module) if world.size > 1 else module
        self._optimizer = self.optimizer()
        self._trained = [p for p in module.parameters() if p.requires_grad]

    def forward(self, x: Inputs) -> Tensor:
        """The module's output; with bf16 under autocast, parameters and gradients stay fp32."""
        with torch.autocast(self.world.device.type, torch.bfloat16, enabled=self.training.precision == "bf16"):
            return self._call(x)

    def accumulate(self, x: Inputs, y: Tensor, objective: Objective, part: int, weight: float) -> Tensor:
        """Workers exchange gradients with the last part only (torch wants the forward pass inside `no_sync` too)."""
        last = part == self.parts - 1
        quiet = self._call.no_sync() if isinstance(self._call, DistributedDataParallel) and not last else nullcontext()
        with quiet, self.module.computing():
            loss = objective(self.forward, x, y)
            (loss * weight).backward()
        return loss.detach()

    def step(self, lr: float) -> float:
        """One optimizer step."""
        limit = self.training.clip or float("inf")
        multipliers = self.module.multipliers
        if multipliers:
            norm = scaled_clip_(self.module.named_parameters(), multipliers, limit)
        else:
            norm = clip_grad_norm_(self._trained, limit)
        set_lr(self._optimizer, lr)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return float(norm)

    def optimizer_state(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """All workers hold the same."""
        for name, parameter in self.module.named_parameters():
            if parameter.requires_grad:
                yield name, dict(self._optimizer.state[parameter])

    def adopt(self, state: OptimizerState) -> None:
        """Each field goes to its parameter's device."""
        adopt_(self._optimizer, dict(self.module.named_parameters()), state)
