"""Kronecker weight templates and scalers.

WeiT (arXiv 2604.14769) trains under the constraint `W[l] = sum_n kron(S[l, n], T[n])`, WAVE (arXiv 2406.17503,
CVPR 2025) distils into it. Templates T belong to a kind of matrix and serve every layer and every size; scalers S
belong to a layer, and their shape follows the size. What is no scaling matrix (norms, biases, embeddings, the
classifier) is a *free* tensor, trained along.

To another size (the papers truncate or repeat scalers along the width; the rest is our reading):

- width: scalers keep their first tiles, or start again from the first. Inputs that now appear several times are
  divided by their number, so that a wider model computes nearly what the trained one does (exactly so, but for
  normalisation layers). Free tensors follow the same rule unit by unit, hence all maps agree on which channel is
  which.
- depth: the scalers and free tensors of the layers are interpolated linearly.
"""

from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor

from zoo.family import Architecture
from zoo.methods.base import Tensors, Trained
from zoo.size import LegalSizes
from zoo.transforms.axes import cycle, cycle_inputs, interpolate
from zoo.transforms.kron import compose

TEMPLATES, SCALERS, FREE = "templates/", "scalers/", "free/"


class Kronecker(Trained, frozen=True):
    """Options: the side of the square templates, and how many there are for each kind of matrix."""

    name: Literal["kronecker"] = "kronecker"
    tile: PositiveInt = 32
    templates: PositiveInt = 5

    def legal(self, source: Architecture) -> LegalSizes:
        """Every width and MLP width that the tile divides."""
        multiples = {"width_multiple": self.tile, "mlp_multiple": self.tile}
        return super().legal(source).model_copy(update=multiples)

    def shared(self, name: str) -> bool:
        """Templates serve all sizes; scalers and free tensors are fitted."""
        return name.startswith(TEMPLATES)

    def start(self, source: Architecture, seed: int) -> dict[str, Tensor]:
        """Templates and scalers with `N std(T)^2 std(S)^2 = 0.02^2`, so that composed matrices start like ViT's.

        Free tensors start as the family's library starts them.
        """
        self.legal(source).check(source.size)
        std = (0.02 / self.templates**0.5) ** 0.5
        tensors: dict[str, Tensor] = {}
        generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            library = source.stack(source.build().state_dict())
        for key in source.kinds:
            if not _is_matrix(source, key):
                tensors[FREE + key] = library[key]
                continue
            *batch, rows, columns = library[key].shape
            shape = (*batch, rows // self.tile, columns // self.tile, self.templates)
            tensors[SCALERS + key] = torch.randn(shape, generator=generator) * std
            shape = (self.templates, self.tile, self.tile)
            tensors[TEMPLATES + key] = torch.randn(shape, generator=generator) * std
        return tensors

    def expand(self, tensors: Tensors, source: Architecture, target: Architecture) -> dict[str, Tensor]:
        """Compose `sum_n kron(S_n, T_n)` for all layers of a kind at once; free tensors as they are."""
        here = self.resize(tensors, source, target)
        return {
            key: compose(here[SCALERS + key], here[TEMPLATES + key]) if SCALERS + key in here else here[FREE + key]
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
            elif axis.role == "out":
                resized = cycle(resized, i, axis.extent // unit)
            elif axis.role == "in":
                resized = cycle_inputs(resized, i, axis.extent // unit)
        return resized


def _is_matrix(arch: Architecture, key: str) -> bool:
    """Whether a kind is a repeated matrix whose outputs and inputs both scale: those are composed from templates."""
    roles = [axis.role for axis in arch.axes(key)]
    return roles[0] == "layer" and roles[-2:] == ["out", "in"]
