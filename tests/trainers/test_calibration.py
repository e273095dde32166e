"""Calibration of a start by the ancestor's activations."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pico import CONFIG, PICO, pico_arch, pico_data
from pico_text import VOCAB, text_data, write_corpus
from torch import Tensor

from trainers.calibration import Calibration, calibrate
from trainers.dataset import Dataset
from zoo import Architecture, BadInputError, Checkpoint, Front, Size, condense, instantiate
from zoo.families import architecture
from zoo.methods.base import ClosedForm
from zoo.methods.bot import BoT
from zoo.methods.random import random_start
from zoo.methods.selection import Selection

ALL = Calibration(samples=192, ridge=1e-9)
GPT2 = {"vocab_size": VOCAB, "max_length": 16}
RESNET = {"img_size": 8, "in_chans": 1, "num_classes": 10}
BERT = {"vocab_size": VOCAB, "max_length": 16, "task": "masked"}


def ancestor(arch: Architecture) -> Checkpoint:
    """Random weights that are large enough for every branch to matter."""
    weights = arch.unstack(random_start(arch, seed=3))
    draw = torch.Generator().manual_seed(0)
    return Checkpoint(
        arch, {n: t + 0.1 * torch.randn(t.shape, generator=draw) if t.dim() > 1 else t for n, t in weights.items()}
    )


def damaged(checkpoint: Checkpoint, *names: str) -> Checkpoint:
    draw = torch.Generator().manual_seed(1)
    weights = {name: tensor.clone() for name, tensor in checkpoint.weights.items()}
    for name in names:
        weights[name] += 0.1 * torch.randn(weights[name].shape, generator=draw)
    return Checkpoint(checkpoint.arch, weights)


def images(data: Dataset) -> Tensor:
    x, _ = data.held_out.evaluation(np.arange(len(data.held_out)))
    assert isinstance(x, Tensor)
    return x


@torch.no_grad()
def away(checkpoint: Checkpoint, other: Checkpoint, x: Tensor) -> float:
    """How far the logits are from the other's, relative to how these vary."""
    theirs = other.model(x)
    return float((checkpoint.model(x) - theirs).norm() / (theirs - theirs.mean(0)).norm())


def test_the_ancestor_itself_stays_as_it_is() -> None:
    whole = ancestor(pico_arch())
    torch.testing.assert_close(calibrate(whole, whole, pico_data(), ALL).weights, whole.weights)


@pytest.mark.parametrize(
    "name", ["blocks.0.attn.proj.weight", "blocks.1.mlp.fc2.bias", "blocks.1.mlp.fc2.weight", "head.weight"]
)
def test_a_damaged_map_of_a_vit_is_restored(name: str) -> None:
    data, whole = pico_data(), ancestor(pico_arch())
    start = damaged(whole, name)
    assert away(start, whole, images(data)) > 0.05
    assert away(calibrate(start, whole, data, ALL), whole, images(data)) < 1e-3


def test_a_damaged_map_that_stores_inputs_first_is_restored(tmp_path: Path) -> None:
    data = text_data(write_corpus(tmp_path))
    whole = ancestor(architecture("gpt2", GPT2, PICO))
    name = "transformer.h.0.mlp.c_proj.weight"
    mended = calibrate(damaged(whole, name), whole, data, Calibration(samples=64, ridge=1e-9))
    torch.testing.assert_close(mended.weights[name], whole.weights[name], atol=1e-3, rtol=0)


@pytest.mark.parametrize("method", [Front(), BoT(), Selection()])
@pytest.mark.parametrize("size", [Size(depth=2, width=16, heads=1, mlp=32), Size(depth=1, width=32, heads=2, mlp=64)])
def test_a_smaller_start_comes_closer_to_the_ancestor_on_unseen_samples(method: ClosedForm, size: Size) -> None:
    data, whole = pico_data(), ancestor(pico_arch())
    start = instantiate(condense(whole, method), size)
    mended = calibrate(start, whole, data, Calibration(samples=192))
    assert away(mended, whole, images(data)) < 0.8 * away(start, whole, images(data))


@pytest.mark.parametrize("size", [Size(depth=4, width=32, heads=2, mlp=64), Size(depth=2, width=64, heads=4, mlp=128)])
def test_a_larger_start_comes_closer_to_the_ancestor_on_unseen_samples(size: Size) -> None:
    data, whole = pico_data(), ancestor(pico_arch())
    start = instantiate(condense(whole, Front()), size)
    mended = calibrate(start, whole, data, Calibration(samples=192))
    assert away(mended, whole, images(data)) < 0.8 * away(start, whole, images(data))


def test_only_closing_maps_and_the_classifier_change() -> None:
    whole = ancestor(pico_arch())
    start = instantiate(condense(whole, Front()), Size(depth=1, width=16, heads=1, mlp=32))
    mended = calibrate(start, whole, pico_data(), ALL)
    changed = {name for name, tensor in mended.weights.items() if not torch.equal(tensor, start.weights[name])}
    maps = ("blocks.0.attn.proj", "blocks.0.mlp.fc2", "head")
    assert changed == {f"{name}.{end}" for name in maps for end in ("weight", "bias")}


def test_calibrating_twice_gives_the_same_and_leaves_the_inputs_alone() -> None:
    data, whole = pico_data(), ancestor(pico_arch())
    start = damaged(whole, "head.weight")
    before = start.weights["head.weight"].clone()
    first, second = (calibrate(start, whole, data, ALL).weights for _ in range(2))
    torch.testing.assert_close(first, second, atol=0, rtol=0)
    assert torch.equal(start.weights["head.weight"], before)


def test_running_statistics_are_those_of_the_samples() -> None:
    data = pico_data()
    whole = ancestor(architecture("resnet", RESNET, Size(depth=8, width=4)))
    start = damaged(whole, "conv1.0.weight")
    mended = calibrate(start, whole, data, ALL)
    x, _ = data.train.evaluation(np.arange(len(data.train)))
    with torch.no_grad():
        seen = start.model.get_submodule("conv1.0")(x).transpose(0, 1).flatten(1)
    torch.testing.assert_close(mended.weights["conv1.1.running_mean"], seen.mean(1))
    torch.testing.assert_close(mended.weights["conv1.1.running_var"], seen.var(1))


@pytest.mark.parametrize(
    ("arch", "start", "samples", "words"),
    [
        (pico_arch(), pico_arch(), 1000, "calibration.samples: 1000; legal: 2 to 192"),
        (
            architecture("vit", CONFIG | {"num_classes": 9}, PICO),
            pico_arch(),
            64,
            'the start\'s, vit .*"num_classes":10',
        ),
        (architecture("bert", BERT, PICO), architecture("bert", BERT, PICO), 64, "'bert' at task 'masked' cannot be"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(
    arch: Architecture, start: Architecture, samples: int, words: str
) -> None:
    with pytest.raises(BadInputError, match=words):
        calibrate(ancestor(start), ancestor(arch), pico_data(), Calibration(samples=samples))
