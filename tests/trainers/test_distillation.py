"""WAVE's objective: the ancestor's classes as soft targets beside the task's own loss."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pico import PICO, pico_arch, pico_data
from pico_text import VOCAB, text_data, write_corpus
from torch import Tensor

from trainers.distillation import Distillation, Teacher
from trainers.objectives import Task
from zoo import Architecture, BadInputError, Checkpoint, Size
from zoo.families import architecture
from zoo.manifest import Preprocessing
from zoo.methods.random import random_start

CPU = torch.device("cpu")
CONVNET = {"img_size": 8, "in_chans": 1, "num_classes": 10, "patch_size": 1}


def checkpoint(arch: Architecture, preprocessing: Preprocessing | None = None) -> Checkpoint:
    return Checkpoint(arch, arch.unstack(random_start(arch, seed=3)), preprocessing=preprocessing)


def batch() -> tuple[Tensor, Tensor]:
    x, y = pico_data().held_out.evaluation(np.arange(6))
    assert isinstance(x, Tensor)
    return x, y


def test_the_loss_is_the_task_plus_the_divergence_of_the_batch_mean() -> None:
    teacher = Teacher(checkpoint(pico_arch()), pico_arch(), pico_data(), CPU)
    x, y = batch()
    logits = torch.randn(6, 10, generator=torch.Generator().manual_seed(0))
    p, q = teacher(x).softmax(-1), logits.softmax(-1)
    divergence = (p * (p / q).log()).sum() / 6
    loss = Distillation(Task(), teacher)(lambda _: logits, x, y)
    torch.testing.assert_close(loss, Task()(lambda _: logits, x, y) + divergence)


def test_only_positions_with_a_target_are_distilled() -> None:
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([[1, -100, 2], [-100, -100, 0]])
    soft = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(1))
    changed = soft.clone()
    changed[0, 1] += torch.arange(5.0)
    losses = [Distillation(Task(), lambda _, t=t: t)(lambda _: logits, logits, targets) for t in (soft, changed)]
    torch.testing.assert_close(losses[0], losses[1])


def test_an_ancestor_of_another_family_with_the_same_classes_teaches() -> None:
    ancestor = checkpoint(architecture("convnext", CONVNET, Size(depth=4, width=4)))
    teacher = Teacher(ancestor, pico_arch(), pico_data(), CPU)
    x, _ = batch()
    assert teacher(x).shape == (6, 10)
    assert not teacher(x).requires_grad


def test_the_ancestor_sees_images_normalised_as_it_was_trained() -> None:
    data = pico_data()
    assert data.preprocessing
    same, other = checkpoint(pico_arch(), data.preprocessing), Preprocessing(mean=(0.1,), std=(0.7,))
    x, _ = batch()
    mean, std = data.preprocessing.mean[0], data.preprocessing.std[0]
    pixels = x * std + mean
    theirs = Teacher(replace(same, preprocessing=other), pico_arch(), data, CPU)(x)
    torch.testing.assert_close(theirs, same.model((pixels - 0.1) / 0.7))
    torch.testing.assert_close(Teacher(same, pico_arch(), data, CPU)(x), same.model(x))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_classes": 9}, "ancestor: its classes is 9, the model's is 10"),
        ({"img_size": 16}, "ancestor: its image_size is 16, the model's is 8"),
    ],
)
def test_an_ancestor_with_other_classes_or_inputs_is_refused(change: dict[str, int], words: str) -> None:
    config = {"img_size": 8, "patch_size": 4, "in_chans": 1, "num_classes": 10} | change
    ancestor = checkpoint(architecture("vit", config, PICO))
    with pytest.raises(BadInputError, match=words):
        Teacher(ancestor, pico_arch(), pico_data(), CPU)


def test_an_ancestor_that_takes_shorter_texts_only_is_refused(tmp_path: Path) -> None:
    size = Size(depth=1, width=16, heads=2)
    longer, shorter = (architecture("gpt2", {"vocab_size": VOCAB, "max_length": length}, size) for length in (16, 15))
    data = text_data(write_corpus(tmp_path))
    Teacher(checkpoint(longer), longer, data, CPU)
    with pytest.raises(BadInputError, match="ancestor: its max_length is 15, but the data's samples have length 16"):
        Teacher(checkpoint(shorter), longer, data, CPU)
