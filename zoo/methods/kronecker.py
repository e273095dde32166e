"""Kronecker weight templates and scalers.

WeiT (arXiv 2604.14769) trains under the constraint `W[l] = sum_n kron(S[l, n], T[n])`, WAVE (arXiv 2406.17503,
CVPR 2025) distils into it. Templates T serve every layer and every size; scalers S belong to a layer, and their shape
follows the size. Composed are the maps inside layers whose outputs and inputs both scale. Templates belong to a kind
of matrix; templates of convolutions hold whole kernels and belong to all kinds of a stage with kernels of their size.
The rest (norms, biases, embeddings, stems, downsampling, the classifier) are *free* tensors, trained along; depthwise
kernels are among them: they are about one in a hundred of a ConvNeXt's numbers.

To another size (the papers truncate or repeat scalers along the width; the rest is our reading):

- width: scalers keep their first tiles, or start again from the first. Inputs that now appear several times are
  divided by their number, so that a wider model computes nearly what the trained one does (exactly so, but for
  normalisation layers). Free tensors follow the same rule unit by unit, hence all maps agree on which channel is
  which; before an output that is tied to the input embedding, the last scale is divided in its place.
- depth: the scalers and free tensors of the layers are interpolated linearly.
"""

import re
from math import lcm
from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor

from zoo.architecture import Architecture
from zoo.methods.base import Tensors, Trained
from zoo.size import LegalSizes, Range
from zoo.transforms.axes import cycle, cycle_inputs, interpolate
from zoo.transforms.kron import compose

TEMPLATES, SCALERS, FREE = "templates/", "scalers/", "free/"
COMPOSED = re.compile(r"(layer )?(part )*out in( fixed)*")
TEMPLATE_STD = (0.02 / 5**0.5) ** 0.5  # that of the scalers too, for five templates and maps that start like ViT's


class Kronecker(Trained, frozen=True):
    """Options: the side of the square templates, and how many there are for each kind of map."""

    name: Literal["kronecker"] = "kronecker"
    tile: PositiveInt = 32
    templates: PositiveInt = 10

    def legal(self, source: Architecture) -> LegalSizes:
        """Every legal width and MLP width that the tile divides."""
        legal = source.legal
        width = legal.width.model_copy(update={"multiple": lcm(legal.width.multiple, self.tile)})
        why = "; ".join(part for part in (legal.why, f"tiles of {self.tile}") if part)
        return legal.model_copy(update={"width": width, "mlp": Range(multiple=self.tile), "why": why})

    def shared(self, name: str) -> bool:
        """Templates serve all sizes; scalers and free tensors are fitted."""
        return name.startswith(TEMPLATES)

    def start(self, source: Architecture, seed: int) -> dict[str, Tensor]:
        """Templates and scalers with `N std(T)^2 std(S)^2 = rms^2`, that of the map's own start in its library.

        Free tensors, and with them maps that start at zero (their scalers then do), start as the library starts them.
        """
        self.legal(source).check(source.size)
        tensors: dict[str, Tensor] = {}
        generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            library = source.stack(source.own(source.build().state_dict()))
        groups = _groups(source)
        for key, stack in library.items():
            if key not in groups:
                tensors[FREE + key] = stack
                continue
            at = [axis.role for axis in source.axes(key)].index("in")
            *batch, rows, columns = stack.shape[: at + 1]
            std = stack.square().mean().sqrt() / (self.templates**0.5 * TEMPLATE_STD)
            shape = (*batch, rows // self.tile, columns // self.tile, self.templates)
            tensors[SCALERS + key] = torch.randn(shape, generator=generator) * std
            if groups[key] == key:
                shape = (self.templates, self.tile, self.tile, *stack.shape[at + 1 :])
                tensors[TEMPLATES + key] = torch.randn(shape, generator=generator) * TEMPLATE_STD
        return tensors

    def expand(self, tensors: Tensors, source: Architecture, target: Architecture) -> dict[str, Tensor]:
        """Compose `sum_n kron(S_n, T_n)` for all layers of a kind at once; free tensors as they are."""
        here, groups = self.resize(tensors, source, target), _groups(target)
        return {
            key: compose(here[SCALERS + key], here[TEMPLATES + groups[key]]) if key in groups else here[FREE + key]
            for key in target.kinds
        }

    def resize(self, tensors: Tensors, source: Architecture, target: Architecture) -> dict[str, Tensor]:
        """Scalers and free tensors as the module's text says; templates untouched."""
        if source.size == target.size:
            return dict(tensors)
        return {name: self._resize(name, tensor, target) for name, tensor in tensors.items()}

    def _resize(self, name: str, tensor: Tensor, target: Architecture) -> Tensor:
        group, _, key = name.partition("/")
        if group + "/" == TEMPLATES:
            return tensor
        unit = self.tile if group + "/" == SCALERS else 1
        resized = tensor
        for i, axis in enumerate(target.axes(key)):
            if axis.role == "layer":
                resized = interpolate(resized, i, axis.extent)
            elif axis.role == "in" or (axis.role == "out" and target.kinds[key].feeds_tied):
                resized = cycle_inputs(resized, i, axis.extent // unit)
            elif axis.role == "out":
                resized = cycle(resized, i, axis.extent // unit)
        return resized


def _groups(arch: Architecture) -> dict[str, str]:
    """For every composed kind the one that gives its templates their name: itself, or the first of its stage."""
    first: dict[tuple[int, tuple[int, ...]], str] = {}
    groups: dict[str, str] = {}
    for key in arch.kinds:
        axes, stage = arch.axes(key), arch.stage(key)
        if stage is not None and COMPOSED.fullmatch(" ".join(axis.role for axis in axes)):
            kernel = tuple(axis.extent for axis in axes if axis.role == "fixed")
            groups[key] = first.setdefault((stage, kernel), key) if kernel else key
    return groups
