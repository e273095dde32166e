"""Kronecker learngenes of every family: the same promises, whatever the architecture."""

import pytest
import torch
from pico_families import PICOS, outputs, pico, trained
from torch.testing import assert_close

from zoo.architecture import Architecture
from zoo.learngene import Learngene
from zoo.methods.kronecker import FREE, SCALERS, TEMPLATES, Kronecker
from zoo.size import Size

METHOD = Kronecker(tile=2, templates=2)
families = pytest.mark.parametrize("name", PICOS)


def learngene(arch: Architecture) -> Learngene:
    """Composed maps start as the library would have them, all other numbers are random."""
    free = arch.stack(trained(arch, dtype=torch.float64))
    tensors = {name: tensor.double() for name, tensor in METHOD.start(arch, 0).items()}
    return Learngene(
        METHOD, arch, {name: free.get(name.removeprefix(FREE), tensor) for name, tensor in tensors.items()}
    )


def times(size: Size, k: int) -> Size:
    return Size(depth=size.depth, width=k * size.width, heads=k * size.heads, mlp=k * size.mlp)


@families
@pytest.mark.parametrize("k", [2, 3])
def test_a_multiple_of_the_width_computes_the_same_function(name: str, k: int) -> None:
    """Net2Net, exactly: whole heads and channels are repeated, every sum over inputs is divided, ties are kept."""
    gene = learngene(pico(name))
    size = times(gene.source.size, k)
    narrow = outputs(gene.source, gene.expand(gene.source.size))
    assert narrow.std() > 1e-3
    assert_close(outputs(gene.source.at(size), gene.expand(size)), narrow, rtol=1e-9, atol=1e-9)


@families
def test_only_maps_that_scale_on_both_sides_are_composed(name: str) -> None:
    arch = pico(name)
    for key in (tensor.removeprefix(SCALERS) for tensor in METHOD.start(arch, 0) if tensor.startswith(SCALERS)):
        assert {"out", "in"} <= {axis.role for axis in arch.axes(key)}
        assert arch.kinds[key].decays


def test_the_six_modulation_maps_of_dit_are_composed_with_shared_templates() -> None:
    arch = pico("dit")
    gene = learngene(arch)
    gene.tensors[SCALERS + "blocks.{layer}.modulation.weight"].normal_(generator=torch.Generator().manual_seed(0))
    key = "blocks.{layer}.modulation.weight"
    scalers, templates = gene.tensors[SCALERS + key], gene.tensors[TEMPLATES + key]
    maps = gene.expand(arch.size)["blocks.1.modulation.weight"].chunk(6)
    for scaler, found in zip(scalers[1], maps, strict=True):
        want = sum((torch.kron(scaler[..., n], templates[n]) for n in range(2)), torch.zeros(()))
        assert_close(found, want)


def test_maps_that_start_at_zero_do_so_and_can_leave_it() -> None:
    arch, key = pico("dit"), "blocks.{layer}.modulation.weight"
    tensors = {name: tensor.requires_grad_() for name, tensor in METHOD.start(arch, 0).items()}
    stack = METHOD.expand(tensors, arch, arch)[key]
    assert stack.abs().max() == 0
    (stack * torch.randn(stack.shape, generator=torch.Generator().manual_seed(0))).sum().backward()
    gradient = tensors[SCALERS + key].grad
    assert gradient is not None
    assert gradient.abs().min() > 0
