"""Training on another device than the CPU, for which torch's `meta` stands: nothing is left behind on the CPU."""

from typing import Any

import pytest
import torch
from pico import pico_arch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from trainers.config import Execution, Training
from trainers.engines.plain_torch import TorchEngine
from trainers.parametrization import Composed, Plain
from trainers.world import World
from zoo import Kronecker, Learngene, Size
from zoo.families import architecture

ELSEWHERE = torch.device("meta")


class _Devices(TorchDispatchMode):
    """Notes the operations whose tensors lie on several devices (single numbers may come from the CPU)."""

    def __init__(self) -> None:
        super().__init__()
        self.mixed: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor) and leaf.dim()]
        if len({tensor.device for tensor in tensors}) > 1:
            self.mixed.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("task", "shape"), [("masked", (2, 8, 300)), ("classification", (2, 3))])
def test_a_composed_model_with_buffers_computes_on_the_device_of_its_tensors(task: str, shape: tuple[int, ...]) -> None:
    labels = {"num_labels": 3} if task == "classification" else {}
    config = {"vocab_size": 300, "max_length": 8, "task": task, **labels}
    arch = architecture("bert", config, Size(depth=2, width=16, heads=2))
    method = Kronecker(tile=8, templates=2)
    module = Composed(Learngene(method, arch, method.start(arch, 0)), masked=1.0).to(ELSEWHERE)
    module.begin(step=0, seed=0)
    with _Devices() as seen:
        for training in (True, False):
            out = module.train(training)({"input_ids": torch.zeros(2, 8, dtype=torch.int64, device=ELSEWHERE)})
    assert seen.mixed == []
    assert (out.device, out.shape) == (ELSEWHERE, shape)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_the_state_of_another_optimizer_is_taken_to_the_device_of_its_parameters(optimizer: str) -> None:
    fields = {"adamw": ("step", "exp_avg", "exp_avg_sq"), "sgd": ("momentum_buffer",)}[optimizer]
    module = Plain(pico_arch(), seed=0)
    state = {name: {field: torch.zeros_like(p) for field in fields} for name, p in module.named_parameters()}
    training = Training(steps=1, optimizer=optimizer)  # pyright: ignore[reportArgumentType]
    engine = TorchEngine(module, training, Execution(), World(0, 1, ELSEWHERE), parts=1)
    engine.adopt(state.items())
    taken = dict(engine.optimizer_state())
    assert taken.keys() == state.keys()
    assert {tensor.device for held in taken.values() for tensor in held.values()} == {ELSEWHERE}
