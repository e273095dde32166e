"""LiGO: operators are learned, the ancestor is not."""

import pytest
import torch
from pico_families import PICOS, outputs, pico, trained

from zoo.methods.ligo import ANCESTOR, OPERATORS, Ligo
from zoo.size import Size

families = pytest.mark.parametrize("family", PICOS)
LARGER = Size(depth=5, width=16, heads=4, mlp=20)


def tensors(family: str = "vit", dtype: torch.dtype = torch.float64) -> dict[str, torch.Tensor]:
    arch = pico(family)
    return Ligo().condense(arch.stack(trained(arch, dtype=dtype)), arch)


def test_operators_belong_to_axes_and_serve_all_maps() -> None:
    resized = Ligo().resize(tensors(), pico("vit"), pico("vit").at(LARGER))
    operators = {name.removeprefix(OPERATORS): t.shape for name, t in resized.items() if name.startswith(OPERATORS)}
    widths = {f"{role}/{axis}" for role in ("out", "in") for axis in ("width", "head head_dim", "mlp")}
    layers = {f"layer/{key}" for key in pico("vit").kinds if "{layer}" in key}
    assert set(operators) == widths | layers
    assert operators["out/width"] == (16, 8)
    assert operators["in/mlp"] == (20, 12)
    assert operators["layer/blocks.{layer}.norm1.weight"] == (5, 2)


def test_gradients_reach_every_operator_and_not_the_ancestor() -> None:
    method, target = Ligo(), pico("vit").at(LARGER)
    learngene = method.resize(tensors(), pico("vit"), target)
    for name, tensor in learngene.items():
        tensor.requires_grad_(not method.shared(name))
    stacks = method.expand(learngene, target, target)
    torch.stack([stack.square().sum() for stack in stacks.values()]).sum().backward()
    reached = {name for name, tensor in learngene.items() if tensor.grad is not None and tensor.grad.any()}
    assert reached == {name for name in learngene if name.startswith(OPERATORS)}
    assert {name for name in learngene if method.shared(name)} == {
        name for name in learngene if name.startswith(ANCESTOR)
    }


def test_gradients_of_the_operators_are_right() -> None:
    method, target = Ligo(), pico("vit").at(LARGER)
    learngene = method.resize(tensors(), pico("vit"), target)
    names = ["operators/out/width", "operators/in/head head_dim", "operators/layer/blocks.{layer}.mlp.fc1.weight"]

    def expanded(*operators: torch.Tensor) -> torch.Tensor:
        stacks = method.expand(learngene | dict(zip(names, operators, strict=True)), target, target)
        return torch.stack([stack.square().sum() for stack in stacks.values()]).sum()

    inputs = tuple(learngene[name].clone().requires_grad_() for name in names)
    assert torch.autograd.gradcheck(expanded, inputs, fast_mode=True)


@families
def test_a_resized_learngene_expands_to_the_same_weights(family: str) -> None:
    arch, method = pico(family), Ligo()
    size = arch.size
    wide = arch.at(Size(depth=size.depth + 2, width=2 * size.width, heads=2 * size.heads, mlp=2 * size.mlp))
    wider = arch.at(Size(depth=size.depth + 5, width=3 * size.width, heads=3 * size.heads, mlp=3 * size.mlp))
    start = tensors(family)
    once = method.resize(start, arch, wide)
    fitted = {name: t if method.shared(name) else 1.1 * t for name, t in once.items()}
    for learngene, made_at, target in ((start, arch, wide), (fitted, wide, wider)):
        direct = method.expand(learngene, made_at, target)
        there = method.expand(method.resize(learngene, made_at, target), target, target)
        assert list(direct) == list(target.kinds)
        assert all(torch.equal(direct[key], there[key]) for key in direct)


def test_noise_tells_copies_apart_and_the_seed_decides_it() -> None:
    target = pico("vit").at(LARGER)
    first, again, other = (Ligo(seed=seed).expand(tensors(), pico("vit"), target)["norm.bias"] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    one, two = first.chunk(2)
    assert 0 < (one - two).norm() < 0.1 * one.norm()


@families
@pytest.mark.parametrize("times", [0.5, 2])
def test_models_of_other_sizes_compute_something_finite(family: str, times: float) -> None:
    """Learned operators may mix channels as they like: no variance may turn negative."""
    arch, method = pico(family), Ligo()
    numbers = {name: int(getattr(arch.size, name) * times) for name in ("width", "heads", "mlp")}
    target = arch.at(Size(depth=arch.size.depth + 3, **numbers))
    learngene = method.resize(tensors(family), arch, target)
    flipped = {name: t if method.shared(name) else -t for name, t in learngene.items()}
    weights = target.unstack(method.expand(flipped, target, target))
    assert outputs(target, weights).isfinite().all()


@families
def test_nothing_is_learned_where_nothing_changes(family: str) -> None:
    arch, learngene = pico(family), tensors(family)
    assert Ligo().resize(learngene, arch, arch).keys() == learngene.keys()
    deeper = arch.at(arch.size.model_copy(update={"depth": 2 * arch.size.depth}))
    added = Ligo().resize(learngene, arch, deeper).keys() - learngene.keys()
    assert {name.split("/")[1] for name in added} == {"layer"}
