"""Distillation from an ancestor (WAVE, arXiv 2406.17503): `KL(ancestor || model)` beside the task's own loss."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax

from trainers.data.text_sets import TextSet
from trainers.dataset import Dataset
from trainers.inputs import Forward, Inputs, call
from trainers.objectives import IGNORED, Objective
from zoo import Architecture, Checkpoint
from zoo.errors import BadInputError


class Teacher:
    """An ancestor that gives logits for the inputs of the data, in eval mode and without gradients."""

    def __init__(self, ancestor: Checkpoint, arch: Architecture, data: Dataset, device: torch.device) -> None:
        """Raises `BadInputError` where the ancestor's inputs or classes are not those of `arch` and the data."""
        _check(ancestor, arch, data)
        self._model = ancestor.model.requires_grad_(False).to(device)
        self._scale, self._shift = _renormalisation(ancestor, data, device)

    @torch.no_grad()
    def __call__(self, x: Inputs) -> Tensor:
        """Logits `(B, classes)` or `(B, T, vocab)`."""
        if isinstance(x, Tensor):
            x = x * self._scale + self._shift
        return call(self._model, x)


class Distillation(Objective):
    """`task + KL(teacher || model)`, both with weight 1 and temperature 1.

    The divergence is summed over classes and averaged over targets (`batchmean`; averaging over classes too would
    make it vanish beside the task's loss).
    """

    def __init__(self, task: Objective, teacher: Forward) -> None:
        self._task, self._teacher = task, teacher

    def __call__(self, forward: Forward, x: Inputs, y: Tensor) -> Tensor:
        """Both losses from one forward pass of the model."""
        logits = forward(x)
        chosen = (y != IGNORED).flatten()
        model = log_softmax(logits.flatten(0, -2)[chosen].float(), dim=-1)
        teacher = log_softmax(self._teacher(x).flatten(0, -2)[chosen].float(), dim=-1)
        return self._task(lambda _: logits, x, y) + kl_div(model, teacher, reduction="batchmean", log_target=True)

    def sums(self, forward: Forward, x: Inputs, y: Tensor) -> dict[str, Tensor]:
        """Scores are those of the task alone."""
        return self._task.sums(forward, x, y)

    def scores(self, sums: Mapping[str, float]) -> dict[str, float]:
        """As the task's."""
        return self._task.scores(sums)


def _check(ancestor: Checkpoint, arch: Architecture, data: Dataset) -> None:
    theirs, ours = ancestor.arch, arch
    tasks = [a.family.task(a.config) for a in (theirs, ours)]
    if tasks[0] != tasks[1] or tasks[0] == "denoising":
        raise BadInputError(
            f"ancestor: its task is {tasks[0]!r}, the model's {tasks[1]!r}; both must give one set of classes"
        )
    facts = [{fact: a.config.model_dump()[field] for fact, field in a.family.data.items()} for a in (theirs, ours)]
    for fact in facts[1]:
        if facts[0].get(fact) != facts[1][fact]:
            raise BadInputError(f"ancestor: its {fact} is {facts[0].get(fact)}, the model's is {facts[1][fact]}")
    longest, length = theirs.family.longest, data.train.length if isinstance(data.train, TextSet) else 0
    if longest and length > (most := theirs.config.model_dump()[longest]):
        raise BadInputError(f"ancestor: its {longest} is {most}, but the data's samples have length {length}")
    if data.tokenizer and ancestor.tokenizer and data.tokenizer != ancestor.tokenizer:
        raise BadInputError("ancestor: its tokenizer is not the data's; set data.tokenizer to the ancestor's folder")


def _renormalisation(ancestor: Checkpoint, data: Dataset, device: torch.device) -> tuple[Tensor, Tensor]:
    """Scale and shift that turn inputs normalised for the data into those that the ancestor was trained on."""
    theirs, ours = ancestor.preprocessing, data.preprocessing
    if theirs is None or ours is None:
        return torch.ones((), device=device), torch.zeros((), device=device)
    mean, std = (torch.tensor(x, device=device).view(-1, 1, 1) for x in (ours.mean, ours.std))
    their_mean, their_std = (torch.tensor(x, device=device).view(-1, 1, 1) for x in (theirs.mean, theirs.std))
    return std / their_std, (mean - their_mean) / their_std
