"""Calibration: repair in closed form what a change of size has upset, on a few samples and without their labels.

One forward pass of the ancestor says what the network should hold in every place, one of the start mends it on the way:

- running statistics of normalisation layers are measured anew;
- every map that closes a residual branch is solved for, so that the stream after it is the ancestor's at the same
  relative depth, resampled to the start's width; what earlier layers still miss is made good by later ones;
- the classifier is solved for, so that its logits are the ancestor's.

A map W with inputs x, after which m is missing, becomes W + B by a ridge regression (Hoerl & Kennard, 1970),
`min |x B + b - m|^2 + ridge * mean(diag(x'x)) * |B|^2`, x and m centred: what the samples do not tell stays as it was.

It pays where the width shrinks. Accuracy in % on held-out samples of CIFAR-10, from a ViT 6x96 with patch 8 that has
63.9: before any step and after 100 (learning rate 1e-3, mean of two seeds), without and with calibration, whose cost is
that of about 20 steps:

| start | 6x64, before | after | 4x64, before | after |
|---|---|---|---|---|
| FRONT | 17.3, 56.0 | 51.8, 56.0 | 15.3, 49.6 | 45.4, 51.5 |
| BoT | 20.3, 56.1 | 54.0, 56.2 | 13.4, 49.2 | 46.8, 50.4 |
| selection | 29.3, 55.6 | 54.0, 57.7 | 22.1, 48.0 | 50.3, 51.4 |

Growing gains before the first step (FRONT at 12x96: 35.1, 63.2) and little after 100. Where only the depth shrinks it
may harm (FRONT at 3x96 after 100, one seed: 52.8, 51.7). With a ridge of 1e-3 starts are as good but train worse.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt
from torch import Tensor, nn

from trainers.dataset import Dataset
from trainers.distillation import Teacher
from trainers.inputs import Inputs, call, to_device
from trainers.world import World
from zoo import Architecture, Checkpoint
from zoo.checkpoint import in_full_precision
from zoo.errors import BadInputError
from zoo.transforms.axes import interpolate

LEAST = 2
"""Samples below this have no spread."""
SPANNED = 1e-10
"""Directions with a smaller share of the embeddings' energy are below the precision of fp32 weights."""


class Calibration(BaseModel):
    """How many training samples are looked at (all at once), and how strongly maps are held to what they were."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: PositiveInt = 1024
    ridge: PositiveFloat = 1e-2


@torch.no_grad()
def calibrate(start: Checkpoint, ancestor: Checkpoint, data: Dataset, calibration: Calibration) -> Checkpoint:
    """The start with statistics, closing maps and classifier that suit its size; all other tensors as they were.

    Closing maps are mended where blocks normalise before their maps, the classifier and the statistics where there are
    some. Nothing is random. It costs one forward pass of both models over the samples, and a product x'x for every map
    (`torch.utils.flop_counter` counts them around this call). All samples are in memory at once, with the streams
    `(samples, tokens, width)` at every branch and the logits.

    Raises:
        BadInputError: the ancestor is of another family or config, the data are not the ancestor's, there are too few
            samples, or the family has nothing that can be calibrated.
    """
    arch = start.arch
    _check(arch, ancestor.arch)
    device = World.current().device
    x = to_device(_inputs(data, calibration.samples), device)
    ancestor = replace(ancestor, weights=in_full_precision(ancestor.weights))
    teacher = Teacher(ancestor, arch, data, device)
    with ExitStack() as hooks:
        states = _record(ancestor, hooks)
        logits = teacher(x)
    start = replace(start, weights={n: t.clone() for n, t in in_full_precision(start.weights).items()}, digest="")
    model = start.model.to(device)
    _measure(model, arch)
    with ExitStack() as hooks:
        if states:
            resampling = _resampling(start, ancestor).to(logits)
            goals = [state @ resampling.T for state in _at_relative_depths(states, len(_closing(arch)))]
            _mend_branches(start, goals, calibration.ridge, hooks)
        if (head := _head(arch)) is not None:
            _before(model.get_submodule(head), lambda m, x: _mend(m, x, logits, calibration.ridge), hooks)
        call(model, x)
    return replace(start, weights={name: t.detach().cpu() for name, t in arch.own(model.state_dict()).items()})


def _check(arch: Architecture, ancestor: Architecture) -> None:
    if ancestor.at(arch.size) != arch:
        theirs, ours = (f"{a.family.name} {a.config.model_dump_json()}" for a in (ancestor, arch))
        raise BadInputError(f"ancestor: its family and config must be the start's, {ours}; they are {theirs}")
    if _head(arch) is None and not _closing(arch):
        raise BadInputError(
            f"calibration: family {arch.family.name!r} at task {arch.family.task(arch.config)!r} cannot be calibrated: "
            "it has no classifier, and its blocks do not normalise before their maps"
        )


def _inputs(data: Dataset, samples: int) -> Inputs:
    """Training samples at even distances, as they are scored: without augmentation."""
    there = len(data.train)
    if not LEAST <= samples <= there:
        raise BadInputError(f"calibration.samples: {samples}; legal: {LEAST} to {there}, the training samples")
    x, _ = data.train.evaluation(np.linspace(0, there - 1, samples).astype(int))
    return x


def _closing(arch: Architecture) -> list[tuple[str, bool]]:
    """The modules that close branches, as they follow each other, and whether they store inputs first."""
    if arch.family.residual != "pre":
        return []
    maps = {key: kind for key, kind in arch.kinds.items() if kind.closes_branch and kind.decays}
    layers = zip(*(arch.names(key) for key in maps), strict=True)
    inputs_first = ["->" in kind.axes for kind in maps.values()]
    return [(_module(name), first) for layer in layers for name, first in zip(layer, inputs_first, strict=True)]


def _head(arch: Architecture) -> str | None:
    """The module that gives a number for every class."""
    maps = (name for name, kind in arch.kinds.items() if kind.axes.startswith("class <-"))
    return next(map(_module, maps), None)


def _module(tensor: str) -> str:
    return tensor.rpartition(".")[0]


def _first_block(arch: Architecture) -> str:
    return arch.table.segments[0].prefix.format(layer=0).removesuffix(".")


def _record(ancestor: Checkpoint, hooks: ExitStack) -> list[Tensor]:
    """A list that the coming forward pass fills: the stream before the first branch and after every one."""
    states: list[Tensor] = []
    closing = _closing(ancestor.arch)
    if closing:
        block = ancestor.model.get_submodule(_first_block(ancestor.arch))
        _before(block, lambda _, x: states.append(x), hooks)
    for name, _ in closing:
        _before(ancestor.model.get_submodule(name), lambda m, x: states.append(states[-1] + m.forward(x)), hooks)
    return states


def _before(module: nn.Module, act: Callable[[nn.Module, Tensor], object], hooks: ExitStack) -> None:
    """Let `act(module, its first input)` be called before the module computes."""

    def hook(module: nn.Module, args: tuple[Any, ...]) -> None:  # what a hook returns would replace the inputs
        act(module, args[0])

    hooks.callback(module.register_forward_pre_hook(hook).remove)


def _at_relative_depths(states: Sequence[Tensor], count: int) -> list[Tensor]:
    """The stream after each of `count` branches: at the same share of all branches, linear in between."""
    last = len(states) - 1
    places = [last * (k + 1) / count for k in range(count)]
    lower = [min(int(place), last - 1) for place in places]
    return [torch.lerp(states[i], states[i + 1], place - i) for i, place in zip(lower, places, strict=True)]


def _resampling(start: Checkpoint, ancestor: Checkpoint) -> Tensor:
    """R `(width, ancestor's width)` by which the start's embeddings are the ancestor's: least squares, fp64.

    Where the embeddings do not tell (fewer pixels in a patch than channels), it is read linearly between channels.
    """
    ours, theirs = _embeddings(start), _embeddings(ancestor)
    plain = interpolate(torch.eye(len(theirs), dtype=theirs.dtype), 0, len(ours))
    inverse = torch.linalg.pinv(theirs @ theirs.T, rtol=SPANNED, hermitian=True)
    return plain + (ours - plain @ theirs) @ theirs.T @ inverse


def _embeddings(checkpoint: Checkpoint) -> Tensor:
    """What writes to the stream before the first block, `(width, all)`: patches, tokens, positions."""
    arch = checkpoint.arch
    signals: list[Tensor] = []
    for key in (kind.name for kind in arch.table.outside):
        axes = arch.axes(key)
        scaling = [i for i, axis in enumerate(axes) if axis.role in ("out", "in")]
        if len(axes) > 1 and [(axes[i].name, axes[i].role) for i in scaling] == [("width", "out")]:
            signals.append(arch.stack_kind(key, checkpoint.weights).movedim(scaling[0], 0).flatten(1))
    return torch.cat(signals, dim=1).double()


def _measure(model: nn.Module, arch: Architecture) -> None:
    """Let the coming forward pass replace the running statistics by those of its samples."""
    statistics = (name for key, kind in arch.kinds.items() if kind.statistic for name in arch.names(key))
    for name in dict.fromkeys(map(_module, statistics)):
        layer: Any = model.get_submodule(name)
        layer.train()
        layer.momentum = None  # the mean over all batches since the counter was zero, and that is this one


def _mend_branches(start: Checkpoint, goals: Sequence[Tensor], ridge: float, hooks: ExitStack) -> None:
    """In the coming forward pass, bring the stream after every branch to its goal."""
    stream: list[Tensor] = []
    _before(start.model.get_submodule(_first_block(start.arch)), lambda _, x: stream.append(x), hooks)

    def mend(module: nn.Module, x: Tensor, goal: Tensor, inputs_first: bool) -> None:
        stream[-1] = stream[-1] + _mend(module, x, goal - stream[-1], ridge, inputs_first)

    for (name, first), goal in zip(_closing(start.arch), goals, strict=True):
        _before(start.model.get_submodule(name), lambda m, x, g=goal, f=first: mend(m, x, g, f), hooks)


def _mend(module: Any, x: Tensor, goal: Tensor, ridge: float, inputs_first: bool = False) -> Tensor:
    """Change the module's map so that its outputs for `x` are `goal`; what they are then."""
    change, shift = _solve(x, goal - module.forward(x), ridge)
    module.weight += change if inputs_first else change.T
    module.bias += shift
    return module.forward(x)


def _solve(x: Tensor, missing: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """B `(in, out)` and b `(out,)` of the ridge regression of `missing` on `x`; solved in fp64."""
    flat, want = x.flatten(0, -2).double(), missing.flatten(0, -2).double()
    mean, want_mean = flat.mean(0), want.mean(0)
    flat, want = flat - mean, want - want_mean
    gram = flat.T @ flat
    gram.diagonal().add_(ridge * gram.diagonal().mean())
    change = torch.linalg.solve(gram, flat.T @ want)
    return change.to(x), (want_mean - mean @ change).to(x)
