"""Activation checkpointing: the same gradients from less memory, for what a learngene composes too."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pico import pico_arch, pico_data, pico_learngene
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from trainers.config import Execution, Training
from trainers.engines.plain_torch import TorchEngine
from trainers.inputs import Inputs
from trainers.loop import train
from trainers.objectives import Task
from trainers.parametrization import Composed, Parametrization, Plain
from trainers.recompute import FAMILIES, recompute_
from trainers.world import World
from zoo import Architecture, Kronecker, Learngene, Size
from zoo.errors import BadInputError
from zoo.families import FAMILIES as ALL
from zoo.families import architecture

IMAGES = {"img_size": 32, "in_chans": 1, "num_classes": 10}
TEXT = {"vocab_size": 50, "max_length": 8, "dropout": 0.1}
CONFIGS: dict[str, dict[str, Any]] = {
    "vit": {**IMAGES, "patch_size": 8},
    "convnext": IMAGES,
    "bert": TEXT,
    "roberta": {**TEXT, "pad_token_id": 1},
    "gpt2": TEXT,
}
SETTINGS = Training(steps=2, batch=8, lr=3e-3)


def arch_of(family: str) -> Architecture:
    size = Size(depth=4, width=16) if family == "convnext" else Size(depth=2, width=32, heads=2, mlp=64)
    return architecture(family, CONFIGS[family], size)


def made(kind: str, arch: Architecture) -> Parametrization:
    if kind == "plain":
        return Plain(arch, seed=1)
    method = Kronecker(tile=16, templates=2)
    return Composed(Learngene(method, arch, method.start(arch, 0)), masked=0.5)


def batch(arch: Architecture) -> tuple[Inputs, Tensor]:
    random = torch.Generator().manual_seed(0)
    if "vocab_size" in arch.config.model_dump():
        ids = torch.randint(50, (8, 8), generator=random)
        return {"input_ids": ids}, ids
    return torch.randn(8, 1, 32, 32, generator=random), torch.arange(8)


def gradients(module: Parametrization, arch: Architecture) -> tuple[list[Tensor], int]:
    """Of one micro-batch, with dropout; and how many numbers were kept for them."""
    engine = TorchEngine(module, SETTINGS, Execution(), World(0, 1, torch.device("cpu")), parts=1)
    module.begin(0, seed=0)
    module.train()
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.numel()
        return tensor

    torch.manual_seed(0)
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        engine.accumulate(*batch(arch), Task(), part=0, weight=1.0)
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in module.parameters()], sum(kept.values())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["plain", "composed"])
def test_gradients_are_the_same_and_less_is_kept_for_them(family: str, kind: str) -> None:
    arch = arch_of(family)
    usual, saving = made(kind, arch), made(kind, arch)
    saving.recompute_()
    expected, much = gradients(usual, arch)
    found, less = gradients(saving, arch)
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    assert any(grad.abs().max() > 0 for grad in found)
    assert less < 0.9 * much


@pytest.mark.parametrize("kind", ["plain", "composed"])
def test_a_training_ends_where_it_ends_without(kind: str, tmp_path: Path) -> None:
    ends = []
    for saving in (False, True):
        module = Plain(pico_arch(), seed=1) if kind == "plain" else Composed(pico_learngene(), masked=0.5)
        execution = Execution(activation_checkpointing=saving, micro_batch=8)
        train(module, Task(), pico_data(), Training(steps=4, batch=32), execution, tmp_path / str(saving))
        ends.append(list(module.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


def test_a_family_that_cannot_is_refused_with_those_that_can() -> None:
    for family in ALL.keys() - set(FAMILIES):
        config = {**IMAGES, "img_size": 8} | ({"patch_size": 2} if family == "dit" else {})
        heads = {"heads": 2} if family == "dit" else {}
        arch = architecture(family, config, Size(depth=8 if family == "resnet" else 2, width=16, **heads))
        legal = f"not possible for {family!r}; legal families: vit, convnext, bert, roberta, gpt2"
        with pytest.raises(BadInputError, match=legal):
            recompute_(arch.build(), arch)


@pytest.mark.slow
@pytest.mark.parametrize("zero", ["2", "3"])
def test_it_goes_together_with_zero(zero: str, tmp_path: Path, torch_extensions: Path) -> None:
    """In processes of their own, for DeepSpeed leaves traces in its process."""
    code = """
import sys
from pathlib import Path
import torch
from pico import pico_arch, pico_data
from trainers.config import Execution, Training
from trainers.loop import train
from trainers.objectives import Task
from trainers.parametrization import Plain
zero, folder = int(sys.argv[1]), Path(sys.argv[2])
ends = []
for engine in ({"engine": "deepspeed", "zero": zero}, {}):
    module = Plain(pico_arch(), seed=1)
    execution = Execution.model_validate({"activation_checkpointing": True, **engine})
    done = train(module, Task(), pico_data(), Training(steps=3, batch=32), execution, folder / (engine and "z" or "t"))
    with done.gathered():
        ends.append([p.detach().clone() for p in module.parameters()])
for a, b in zip(*ends, strict=True):
    torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    environment["TORCH_EXTENSIONS_DIR"] = str(torch_extensions)
    environment |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    subprocess.run([sys.executable, "-c", code, zero, str(tmp_path)], env=environment, check=True)
