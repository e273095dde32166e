"""Every family goes through the one training loop, as a plain model and as a Kronecker learngene, and is resumed."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines.recipe.matching import mismatches
from pipelines.stages.common import task_objective
from trainers.config import Execution, Training
from trainers.data.config import Data, Digits, Text
from trainers.dataset import Dataset
from trainers.loop import train
from trainers.metrics import read_metrics
from trainers.parametrization import Composed, Parametrization, Plain
from zoo import Architecture, Kronecker, Learngene, Size
from zoo.families import FAMILIES, architecture

IMAGES = {"img_size": 8, "in_chans": 1, "num_classes": 10}
TEXT = {"vocab_size": 300, "max_length": 8, "dropout": 0.0}
CONFIGS: dict[str, dict[str, Any]] = {
    "vit": {**IMAGES, "patch_size": 4},
    "resnet": IMAGES,
    "convnext": {**IMAGES, "patch_size": 1},
    "bert": {**TEXT, "task": "masked"},
    "roberta": {**TEXT, "task": "masked", "pad_token_id": 0},
    "gpt2": TEXT,
    "mlp": IMAGES,
    "dit": {**IMAGES, "patch_size": 4},
}


def pico(family: str) -> Architecture:
    heads = 2 if FAMILIES[family].attention else 0
    config = FAMILIES[family].config(**CONFIGS[family])
    depth = max(2, FAMILIES[family].least_depth(config))
    return architecture(family, CONFIGS[family], Size(depth=depth, width=16, heads=heads))


def spec(arch: Architecture, folder: Path) -> Data:
    task = arch.family.task(arch.config)
    if task not in ("causal", "masked"):
        return Digits(limit=64, validation=0.25)
    path = folder / "text.txt"
    path.write_text("\n".join(f"the {i} small foxes jump over {i * 7} lazy dogs" for i in range(200)))
    return Text(path=str(path), task=task, length=8, vocab=300, validation=0.25, limit=64)


def module_of(kind: str, arch: Architecture) -> Parametrization:
    if kind == "plain":
        return Plain(arch, seed=0)
    method = Kronecker(tile=8, templates=2)
    return Composed(Learngene(method, arch, method.start(arch, 0)), masked=0.5)


@pytest.mark.parametrize("kind", ["plain", "composed"])
@pytest.mark.parametrize("family", CONFIGS)
def test_an_interrupted_training_ends_as_an_undisturbed_one(family: str, kind: str, tmp_path: Path) -> None:
    arch = pico(family)
    data_spec = spec(arch, tmp_path)
    assert list(mismatches(arch.family, arch.config.model_dump(), data_spec)) == []
    data = Dataset.open(data_spec, held_out="validation")

    def run() -> dict[str, torch.Tensor]:
        module, training = module_of(kind, arch), Training(steps=4, batch=8, lr=1e-2, evaluate_every=2)
        train(module, task_objective(arch, training), data, training, Execution(checkpoint_every=2), tmp_path / "work")
        return {name: tensor.clone() for name, tensor in module.state_dict().items()}

    whole = run()
    rows = read_metrics(tmp_path / "work" / "metrics.jsonl")
    assert [row["step"] for row in rows if "eval_loss" in row] == [2, 4]
    shutil.rmtree(tmp_path / "work" / "checkpoints" / "step-000000004")
    again = run()
    assert all(torch.isfinite(tensor).all() for tensor in whole.values())
    assert [name for name in whole if not torch.equal(whole[name], again[name])] == []
    assert read_metrics(tmp_path / "work" / "metrics.jsonl")[-1]["eval_loss"] == rows[-1]["eval_loss"]


def test_no_family_is_left_out() -> None:
    assert set(CONFIGS) == set(FAMILIES)
