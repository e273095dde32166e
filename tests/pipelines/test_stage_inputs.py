"""What a stage is given (folders that no recipe could check) is refused where it does not fit, with the place."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipelines.artifacts.store import OUTPUT
from pipelines.recipe.recipe import Recipe
from pipelines.stages.common import Job
from pipelines.stages.opening import open_checkpoint, start_weights
from pipelines.stages.optimizer_file import OPTIMIZER
from pipelines.stages.plain import pretrain
from pipelines.stages.scaling import widen
from zoo import Architecture, BadInputError, Checkpoint, Size, condense, read_checkpoint, save_checkpoint
from zoo.families import architecture
from zoo.methods.bot import BoT
from zoo.methods.random import random_start

IMAGES = {"img_size": 8, "in_chans": 1, "num_classes": 10}
SIZE, TRAIN = {"depth": 2, "width": 16}, {"steps": 2, "batch": 16}
WIDE = {"run": "widen", "weights": {"folder": "x"}, "size": {"depth": 2, "width": 32}}


def job(work: Path, stage: dict[str, Any], **inputs: Path) -> Job:
    recipe = {
        "name": "pico",
        "family": "mlp",
        "config": IMAGES,
        "data": {"kind": "digits", "limit": 64, "validation": 0.25},
        "stages": {"it": {**stage, "train": TRAIN | stage.get("train", {})}},
    }
    return Job(recipe=Recipe.model_validate(recipe), name="it", work=work, inputs=inputs)


def checkpoint(family: str = "mlp", dtype: torch.dtype = torch.float32, **config: int) -> Checkpoint:
    heads = {"heads": 2} if family == "vit" else {}
    arch = architecture(family, {**IMAGES, **config}, Size(depth=2, width=16, **heads))
    weights = arch.unstack(random_start(arch, 0))
    return Checkpoint(arch, {name: tensor.to(dtype) for name, tensor in weights.items()})


def saved(folder: Path, what: Checkpoint) -> Path:
    save_checkpoint(folder, what, origin="A test.")
    return folder


def mlp(width: int = 16) -> Architecture:
    return architecture("mlp", IMAGES, Size(depth=2, width=width))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (checkpoint("vit", patch_size=4), "it is a 'vit', but the recipe's family is 'mlp'"),
        (checkpoint(num_classes=3), "num_classes: 3, but the data have 10"),
        (checkpoint(in_chans=3), "in_chans: 3, but the data have 1"),
    ],
)
def test_weights_that_do_not_fit_family_or_data_are_refused_at_their_field(
    tmp_path: Path, given: Checkpoint, message: str
) -> None:
    with pytest.raises(BadInputError) as error:
        widen(job(tmp_path / "work", WIDE, weights=saved(tmp_path / "narrow", given)))
    assert str(error.value) == f"stages.it.weights: {message}"


def test_weights_without_the_optimizers_state_cannot_be_carried_on(tmp_path: Path) -> None:
    narrow = saved(tmp_path / "narrow", checkpoint())
    with pytest.raises(BadInputError, match=r"^stages\.it\.weights: .*without the optimizer's state; .*keep_optimizer"):
        widen(job(tmp_path / "work", WIDE, weights=narrow))
    fresh = job(tmp_path / "fresh", {**WIDE, "optimizer": "fresh"}, weights=narrow)
    widen(fresh)
    assert read_checkpoint(fresh.work / OUTPUT).arch.size.width == 32


def kept(work: Path, **train: Any) -> Path:
    """A narrow training that kept its optimizer's state."""
    pretrain(job(work, {"run": "pretrain", "size": SIZE, "keep_optimizer": True, "train": train}))
    return work / OUTPUT


@pytest.mark.parametrize(
    ("theirs", "mine", "missing"), [("sgd", "adamw", "exp_avg"), ("adamw", "sgd", "momentum_buffer")]
)
def test_the_state_of_another_kind_of_optimizer_is_refused(
    tmp_path: Path, theirs: str, mine: str, missing: str
) -> None:
    narrow = kept(tmp_path / "narrow", optimizer=theirs)
    with pytest.raises(BadInputError) as error:
        widen(job(tmp_path / "work", {**WIDE, "train": {"optimizer": mine}}, weights=narrow))
    hint = f"train.optimizer: {mine} cannot carry it on; take theirs, or optimizer: fresh"
    assert str(error.value) == f"stages.it.weights: their optimizer's state has no {missing}; {hint}"


@pytest.mark.parametrize("train", [{"optimizer": "adam"}, {"optimizer": "sgd"}, {"optimizer": "sgd", "momentum": 0.0}])
def test_the_kept_state_of_every_optimizer_can_be_carried_on(tmp_path: Path, train: dict[str, Any]) -> None:
    narrow = kept(tmp_path / "narrow", **train)
    widen(job(tmp_path / "work", {**WIDE, "train": train}, weights=narrow))
    weights = load_file(tmp_path / "work" / OUTPUT / "model.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())


def test_a_state_of_some_parameters_only_is_refused(tmp_path: Path) -> None:
    narrow = kept(tmp_path / "narrow")
    state = load_file(narrow / OPTIMIZER)
    dropped = next(name for name in state if name.endswith("exp_avg"))
    save_file({name: tensor for name, tensor in state.items() if name != dropped}, narrow / OPTIMIZER)
    with pytest.raises(BadInputError, match=r"stages\.it\.weights: .*has no exp_avg"):
        widen(job(tmp_path / "work", WIDE, weights=narrow))


@pytest.mark.parametrize("source", ["checkpoint", "learngene"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_start_in_half_precision_is_trained_in_full_precision(
    tmp_path: Path, source: str, dtype: torch.dtype
) -> None:
    half = checkpoint(dtype=dtype)
    if source == "checkpoint":
        saved(tmp_path / "start", half)
    else:
        condense(half, BoT()).save(tmp_path / "start")
    weights = start_weights(tmp_path / "start", mlp(), seed=0)
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    assert all(torch.equal(tensor, half.weights[name].float()) for name, tensor in weights.items())
    again = open_checkpoint(tmp_path / "start").weights
    assert all(torch.equal(again[name], tensor) for name, tensor in weights.items())


def test_a_new_head_on_a_start_in_half_precision_is_in_full_precision_too(tmp_path: Path) -> None:
    start = saved(tmp_path / "start", checkpoint(dtype=torch.bfloat16, num_classes=3))
    weights = start_weights(start, mlp(), seed=0)
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    assert {name: tuple(tensor.shape) for name, tensor in weights.items()} == mlp().shapes()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (checkpoint("vit", patch_size=4), "a 'vit' cannot start a model of family 'mlp'"),
        (checkpoint(in_chans=3), r"head\.in_chans: not a field that a new use of 'mlp' may change; legal: num_classes"),
    ],
)
def test_a_start_that_is_no_start_for_the_model_is_refused(tmp_path: Path, given: Checkpoint, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        start_weights(saved(tmp_path / "start", given), mlp(), seed=0)


def test_a_checkpoint_of_another_size_is_no_start(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="a checkpoint of 2x16 cannot start a model of 2x32; condense it first"):
        start_weights(saved(tmp_path / "start", checkpoint()), mlp(32), seed=0)
