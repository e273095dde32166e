"""The `deepspeed` engine: ZeRO 0-2 for every parametrization, ZeRO 3 for plain models."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from math import ceil
from typing import Any

import torch
from torch import Tensor
from torch._C._distributed_c10d import HashStore
from torch.nn import Parameter
from torch.nn.utils import get_total_norm

from trainers.config import Execution, Training
from trainers.deepspeed_ops import import_deepspeed
from trainers.engines.base import NO_SCALED_CLIP, NO_ZERO_3, Engine, OptimizerState, adopt_, set_lr
from trainers.engines.zero_shares import adopt_shares_, gathered_state
from trainers.inputs import Inputs
from trainers.objectives import Objective
from trainers.parametrization import Parametrization
from trainers.world import World
from zoo.errors import BadInputError


class DeepSpeedEngine(Engine):
    """Optimizer state (1), gradients (2) and parameters (3) are spread over the workers."""

    def __init__(
        self, module: Parametrization, training: Training, execution: Execution, world: World, parts: int
    ) -> None:
        super().__init__(module, training, execution, world, parts)
        if execution.zero == 3 and module.functional:
            raise BadInputError(f"resources.zero: {NO_ZERO_3}")
        if module.multipliers and training.clip:
            raise BadInputError(f"resources.engine: {NO_SCALED_CLIP}")
        deepspeed = import_deepspeed()
        if not torch.distributed.is_initialized():  # one process by itself
            torch.distributed.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
        self._engine, *_ = deepspeed.initialize(model=module, optimizer=self.optimizer(), config=self._config())

    def forward(self, x: Inputs) -> Tensor:
        """The module's output; DeepSpeed runs it under autocast with bf16."""
        return self._engine(x)

    def accumulate(self, x: Inputs, y: Tensor, objective: Objective, part: int, weight: float) -> Tensor:
        """DeepSpeed divides by the number of parts itself, and updates after the last one (see `step`)."""
        with self.module.computing():
            loss = objective(self.forward, x, y)
            self._engine.backward(loss * (weight * self.parts))
        if part < self.parts - 1:
            self._engine.step()  # only counts the micro-batch
        return loss.detach()

    def step(self, lr: float) -> float:
        """One optimizer step, clipped by DeepSpeed."""
        set_lr(self._engine.optimizer, lr)
        gradients = [p.grad for p in self.module.parameters() if p.grad is not None]
        whole = get_total_norm(gradients) if self.execution.zero == 0 else None  # DeepSpeed tells it from ZeRO 1 on
        self._engine.step()
        return float(self._engine.get_global_grad_norm() if whole is None else whole)

    def optimizer_state(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """Each parameter's state is gathered when its turn comes."""
        named = dict(self.module.named_parameters())
        if self.execution.zero == 0:
            return ((name, dict(self._engine.optimizer.state[p])) for name, p in named.items() if p.requires_grad)
        return gathered_state(self._engine.optimizer, self.execution.zero, named)

    def adopt(self, state: OptimizerState) -> None:
        """Every worker keeps its share."""
        named = dict(self.module.named_parameters())
        if self.execution.zero == 0:
            adopt_(self._engine.optimizer, named, state)
        else:
            adopt_shares_(self._engine.optimizer, self.execution.zero, named, state)

    def gathered(self, *tensors: Tensor) -> AbstractContextManager[object]:
        """ZeRO 3 collects the parameters of all workers; buffers are whole everywhere."""
        if self.execution.zero < 3:
            return super().gathered()
        wanted = [p for p in tensors or self.module.parameters() if isinstance(p, Parameter)]
        return import_deepspeed().zero.GatheredParameters(wanted, modifier_rank=None)

    def _config(self) -> dict[str, Any]:
        return {
            "train_micro_batch_size_per_gpu": ceil(self.training.batch / (self.world.size * self.parts)),
            "gradient_accumulation_steps": self.parts,
            "gradient_clipping": self.training.clip or 0.0,
            "zero_optimization": {"stage": self.execution.zero},
            "zero_allow_untested_optimizer": True,
            "torch_autocast": {"enabled": self.training.precision == "bf16", "dtype": "bfloat16"},
            "steps_per_print": 2**31,
        }
