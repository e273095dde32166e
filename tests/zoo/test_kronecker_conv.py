"""Kronecker learngenes of convolutional networks: kernels in the templates, scalers over channels only."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from zoo_samples import convnext, images, noise, resnet

from zoo.architecture import Architecture
from zoo.checkpoint import Checkpoint
from zoo.errors import BadInputError
from zoo.learngene import Learngene
from zoo.methods.kronecker import FREE, SCALERS, TEMPLATES, Kronecker
from zoo.size import Size

METHOD = Kronecker(tile=4, templates=3)
BASIC = resnet(depth=9, blocks=(1, 1, 2, 1))
BOTTLENECK = resnet(block="bottleneck")
CONVNEXT = convnext()
SOURCES = [BASIC, BOTTLENECK, CONVNEXT]
OTHERS = [Size(depth=8, width=4), Size(depth=9, width=8), Size(depth=12, width=12), Size(depth=10, width=16)]
sources = pytest.mark.parametrize("source", SOURCES, ids=["basic", "bottleneck", "convnext"])
others = pytest.mark.parametrize("size", OTHERS, ids=str)


def learngene(source: Architecture) -> Learngene:
    """The library's start with random free tensors and scalers that are far from zero."""
    tensors, free = METHOD.start(source, 0), source.stack(noise(source))
    for name in tensors:
        if name.startswith(FREE):
            tensors[name] = free[name.removeprefix(FREE)]
    return Learngene(METHOD, source, tensors)


def composed(source: Architecture) -> set[str]:
    return {name.removeprefix(SCALERS) for name in METHOD.start(source, 0) if name.startswith(SCALERS)}


def test_all_kernels_of_a_stage_share_its_templates() -> None:
    gene = learngene(BASIC)
    weights, tensors = gene.expand(BASIC.size), gene.tensors
    templates = tensors[TEMPLATES + "layer3.0.conv1.weight"]
    assert templates.shape == (3, 4, 4, 3, 3)
    kinds = {f"layer3.0.conv{i}.weight": tensors[SCALERS + f"layer3.0.conv{i}.weight"] for i in (1, 2)}
    repeated = [tensors[SCALERS + f"layer3.{{layer}}.conv{i}.weight"] for i in (1, 2)]
    kinds |= {f"layer3.{b}.conv{i}.weight": repeated[i - 1][b - 1] for b in (1, 2) for i in (1, 2)}
    for name, scalers in kinds.items():
        for x, y in ((0, 0), (1, 2), (2, 1)):
            want = sum((torch.kron(scalers[..., n], templates[n, ..., x, y]) for n in range(3)), torch.zeros(()))
            assert_close(weights[name][..., x, y], want)


def test_templates_belong_to_a_stage_and_a_kernel_size() -> None:
    names = {name.removeprefix(TEMPLATES) for name in METHOD.start(BOTTLENECK, 0) if name.startswith(TEMPLATES)}
    assert names == {f"layer{stage}.0.conv{i}.weight" for stage in (1, 2, 3, 4) for i in (1, 2)}


def test_the_matrices_of_convnexts_have_templates_of_their_own() -> None:
    names = {name.removeprefix(TEMPLATES) for name in METHOD.start(CONVNEXT, 0) if name.startswith(TEMPLATES)}
    assert names == composed(CONVNEXT)
    assert names == {f"stages.{s}.blocks.{{layer}}.mlp.fc{i}.weight" for s in range(4) for i in (1, 2)}


def test_stems_norms_downsampling_and_heads_are_free() -> None:
    maps = {key for key, kind in BASIC.kinds.items() if kind.decays}
    left = {key.partition(".")[0] + "." + key.rpartition("downsample")[1] for key in maps - composed(BASIC)}
    assert left == {"conv1.", "fc.", *(f"layer{stage}.downsample" for stage in (1, 2, 3, 4))}


@sources
def test_composed_maps_start_with_the_spread_that_the_library_gives(source: Architecture) -> None:
    wide = source.at(Size(depth=8, width=32))
    torch.manual_seed(0)
    library = wide.stack(wide.own(wide.build().state_dict()))
    method = Kronecker(tile=16, templates=5)
    tensors = method.start(wide, 0)
    ours = method.expand(tensors, wide, wide)
    for key in composed(wide):
        assert ours[key].std().item() == pytest.approx(library[key].std().item(), rel=0.25)
    assert all(torch.equal(tensors[FREE + key], library[key]) for key in library.keys() - composed(wide))


@sources
@others
def test_every_size_gives_finite_outputs_and_positive_variances(source: Architecture, size: Size) -> None:
    target = source.at(size)
    weights = learngene(source).expand(size)
    assert {name: tuple(tensor.shape) for name, tensor in weights.items()} == target.shapes()
    assert all(tensor.min() > 0 for name, tensor in weights.items() if name.endswith("running_var"))
    assert torch.isfinite(Checkpoint(target, weights).model(images(target))).all()


@sources
@others
def test_a_resized_learngene_expands_to_the_same_weights(source: Architecture, size: Size) -> None:
    tensors, target = learngene(source).tensors, source.at(size)
    resized = METHOD.resize(tensors, source, target)
    assert {name: t.shape for name, t in resized.items()} == {n: t.shape for n, t in METHOD.start(target, 0).items()}
    direct, there = METHOD.expand(tensors, source, target), METHOD.expand(resized, target, target)
    assert all(torch.equal(direct[key], there[key]) for key in target.kinds)


def outputs(gene: Learngene, size: Size) -> Tensor:
    with torch.no_grad():
        return Checkpoint(gene.source.at(size), gene.expand(size)).model(images(gene.source, 4))


@sources
@pytest.mark.parametrize("times", [2, 3])
def test_a_multiple_of_the_width_computes_the_same_function(source: Architecture, times: int) -> None:
    gene = learngene(source)
    narrow = outputs(gene, source.size)
    wide = outputs(gene, Size(depth=source.size.depth, width=times * source.size.width))
    assert narrow.std() > 0.01
    assert_close(wide / narrow.std(), narrow / narrow.std(), rtol=1e-4, atol=1e-4)


@sources
def test_a_narrower_model_takes_the_first_channels_of_every_tensor(source: Architecture) -> None:
    gene = learngene(source)
    whole, part = gene.expand(source.size), gene.expand(Size(depth=source.size.depth, width=4))
    for name, tensor in part.items():
        assert_close(tensor, whole[name][tuple(slice(n) for n in tensor.shape)])


@sources
def test_gradients_reach_every_tensor_that_is_trained(source: Architecture) -> None:
    tensors = {name: t.clone().requires_grad_() for name, t in learngene(source).tensors.items()}
    weights = source.unstack(METHOD.expand(tensors, source, source))
    total = torch.stack([(tensor * torch.randn(tensor.shape)).sum() for tensor in weights.values()]).sum()
    gradients = torch.autograd.grad(total, list(tensors.values()))
    assert all(gradient.abs().sum() > 0 for gradient in gradients)


@sources
def test_a_width_that_the_tile_does_not_divide_is_refused_with_the_legal_ones(source: Architecture) -> None:
    with pytest.raises(BadInputError, match=r"width: 10 is not legal; .*a multiple of 4 .*legal values nearby: 8, 12"):
        learngene(source).size(depth=8, width=10)


def test_the_bounds_of_the_family_hold_for_the_learngene_too() -> None:
    plain = resnet(width=64, stem="plain")
    legal = Kronecker(tile=16).legal(plain)
    assert legal.size(depth=12, width=64) == Size(depth=12, width=64)
    with pytest.raises(
        BadInputError, match=r"width: 32 is not legal; .*timm's plain stem has 64 channels.*tiles of 16"
    ):
        legal.size(depth=12, width=32)
    with pytest.raises(BadInputError, match="depth: 7 is not legal; it must be at least 8"):
        legal.size(depth=7, width=64)
