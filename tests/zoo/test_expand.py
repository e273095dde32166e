"""What every method promises of `expand`: real names and shapes, purity, gradients."""

import copy

import pytest
import torch
from torch.testing import assert_close
from zoo_samples import images, learngene, vit

from zoo.api import instantiate
from zoo.errors import BadInputError
from zoo.methods.base import Method
from zoo.methods.front import Front
from zoo.methods.kronecker import Kronecker
from zoo.size import Size

SOURCE = vit(depth=3, width=8, heads=2, mlp=16)
METHODS = [
    Kronecker(tile=4, templates=3),
    Kronecker(tile=2, templates=1),
    Front(),
    Front(keep=0.4),
    Front(normalization="official"),
    Front(normalization="amplitude", keep=0.7),
]
SIZES = [
    Size(depth=3, width=8, heads=2, mlp=16),
    Size(depth=1, width=4, heads=1, mlp=8),
    Size(depth=5, width=8, heads=2, mlp=16),
    Size(depth=2, width=12, heads=3, mlp=16),
    Size(depth=3, width=16, heads=2, mlp=20),
    Size(depth=7, width=20, heads=10, mlp=4),
]
methods = pytest.mark.parametrize("method", METHODS, ids=repr)
both = pytest.mark.parametrize("method", [METHODS[0], METHODS[3]], ids=repr)


@methods
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_any_size_loads_into_the_real_model_and_runs(method: Method, size: Size) -> None:
    arch = SOURCE.at(size)
    weights = learngene(method, SOURCE).expand(size)
    model = arch.skeleton()
    real = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert {name: tuple(tensor.shape) for name, tensor in weights.items()} == real
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())
    model.load_state_dict(weights, strict=True, assign=True)
    logits = model(images(arch, 2))
    assert logits.shape == (2, 3)
    assert torch.isfinite(logits).all()


@methods
def test_expand_is_pure(method: Method) -> None:
    gene = learngene(method, SOURCE)
    before = copy.deepcopy(dict(gene.tensors))
    first, second = gene.expand(SIZES[4]), gene.expand(SIZES[4])
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert list(gene.tensors) == list(before)
    assert all(torch.equal(tensor, before[name]) for name, tensor in gene.tensors.items())


@methods
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_gradients_reach_every_tensor(method: Method, size: Size) -> None:
    tensors = {name: t.clone().requires_grad_() for name, t in learngene(method, SOURCE).tensors.items()}
    stacks = method.expand(tensors, SOURCE, SOURCE.at(size))
    torch.stack([stack.square().sum() for stack in stacks.values()]).sum().backward()
    without = [name for name, tensor in tensors.items() if tensor.grad is None or not tensor.grad.any()]
    assert without == []


@pytest.mark.parametrize("size", [Size(depth=3, width=6, heads=3, mlp=4), Size(depth=1, width=2, heads=1, mlp=2)])
@pytest.mark.parametrize("method", [Kronecker(tile=2, templates=2), Front(), Front(keep=0.6)], ids=repr)
def test_gradients_are_right_at_another_size(method: Method, size: Size) -> None:
    """Autograd against finite differences, in all tensors of the learngene."""
    source = vit(depth=2, width=4, heads=2, mlp=6, img_size=2, patch_size=2, num_classes=2)
    target = source.at(size)
    tensors = learngene(method, source, dtype=torch.float64).tensors
    names = list(tensors)

    def expanded(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(method.expand(dict(zip(names, values, strict=True)), source, target).values())

    inputs = tuple(tensors[name].clone().requires_grad_() for name in names)
    assert torch.autograd.gradcheck(expanded, inputs, fast_mode=True)


@both
def test_double_precision_stays_double(method: Method) -> None:
    weights = learngene(method, SOURCE, dtype=torch.float64).expand(SIZES[4])
    assert {tensor.dtype for tensor in weights.values()} == {torch.float64}


def test_a_size_that_the_tile_does_not_divide_is_refused_with_the_nearest_legal_ones() -> None:
    gene = learngene(Kronecker(tile=4, templates=2), SOURCE)
    with pytest.raises(BadInputError, match=r"width: 9 .*a multiple of 4 .*legal values nearby: 8, 12"):
        gene.expand(Size(depth=1, width=9, heads=3))
    with pytest.raises(BadInputError, match=r"mlp: 18 .*a multiple of 4 .*legal values nearby: 16, 20"):
        gene.expand(Size(depth=1, width=8, heads=2, mlp=18))


@both
def test_training_a_model_leaves_its_learngene_alone(method: Method) -> None:
    """At the learngene's own size some tensors are taken over as they are: the model must own copies."""
    gene = learngene(method, SOURCE)
    before = copy.deepcopy(dict(gene.tensors))
    model = instantiate(gene, SOURCE.size).model
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in gene.tensors.items())


@both
def test_an_instantiated_model_computes_with_the_expanded_weights(method: Method) -> None:
    gene = learngene(method, SOURCE)
    checkpoint = instantiate(gene, SIZES[4])
    assert checkpoint.arch == SOURCE.at(SIZES[4])
    assert not checkpoint.model.training
    assert all(parameter.requires_grad for parameter in checkpoint.model.parameters())
    plain = checkpoint.arch.build().eval()
    plain.load_state_dict(gene.expand(SIZES[4]))
    x = images(checkpoint.arch)
    assert_close(checkpoint.model(x), plain(x))
