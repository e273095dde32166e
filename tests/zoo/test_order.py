"""Units in an order in which neighbours are alike: the same function, more energy in low frequencies."""

from collections.abc import Callable
from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pico_families import PICOS, even, outputs, pico, trained
from torch import Tensor
from zoo_samples import few

from zoo import Checkpoint, Size, condense, instantiate
from zoo.architecture import Architecture, Stacks
from zoo.families import architecture
from zoo.methods.base import ClosedForm
from zoo.methods.bot import BoT
from zoo.methods.front import Front
from zoo.order import ordered
from zoo.seriated import seriated
from zoo.transforms import dct, seriation

DOUBLE = torch.float64
MAP = "blocks.{layer}.mlp.fc1.weight"


def low_half(x: Tensor, axis: int) -> float:
    """The share of energy in the lower half of the frequencies."""
    return float(dct.forward(x, axis, x.shape[axis] // 2).square().sum() / x.square().sum())


def shuffled(stacks: Stacks, arch: Architecture) -> dict[str, Tensor]:
    """Each layer's MLP units in another random order."""
    generator = torch.Generator().manual_seed(1)
    mixed = dict(stacks)
    orders = [torch.randperm(arch.size.mlp, generator=generator) for _ in range(arch.size.depth)]
    for key in arch.kinds:
        for i, axis in enumerate(arch.axes(key)):
            if axis.name == "mlp":
                layers = [x.index_select(i - 1, order) for x, order in zip(mixed[key], orders, strict=True)]
                mixed[key] = torch.stack(layers)
    return mixed


@pytest.mark.parametrize("family", PICOS)
@pytest.mark.parametrize("change", [seriated, ordered])
def test_an_order_does_not_change_what_a_network_computes(
    family: str, change: Callable[[Stacks, Architecture], Stacks]
) -> None:
    arch = pico(family)
    weights = even(arch)
    changed = arch.unstack(change(arch.stack(weights), arch))
    assert any(not torch.equal(changed[name], weights[name]) for name in weights)
    torch.testing.assert_close(outputs(arch, changed), outputs(arch, weights), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("change", [seriated, ordered])
def test_a_stem_that_the_first_blocks_add_to_keeps_their_order(
    change: Callable[[Stacks, Architecture], Stacks],
) -> None:
    """A plain ResNet of basic blocks has no projection between them."""
    config = {"img_size": 32, "in_chans": 2, "num_classes": 3, "stem": "plain"}
    arch = architecture("resnet", config, Size(depth=8, width=64))
    weights = trained(arch, dtype=DOUBLE)
    changed = arch.unstack(change(arch.stack(weights), arch))
    torch.testing.assert_close(outputs(arch, changed), outputs(arch, weights), rtol=1e-9, atol=1e-9)


def test_weights_given_are_left_as_they_are() -> None:
    arch = pico("vit")
    stacks = arch.stack(trained(arch))
    before = {key: stack.clone() for key, stack in stacks.items()}
    seriated(stacks, arch)
    assert all(torch.equal(stacks[key], before[key]) for key in before)


def test_smooth_layers_whose_units_were_shuffled_become_smooth_again() -> None:
    arch = pico("vit").at(Size(depth=4, width=8, heads=2, mlp=32))
    stacks = arch.stack(trained(arch, dtype=DOUBLE))
    smooth = torch.cos(torch.linspace(0, 3, 32, dtype=DOUBLE)[:, None] * torch.arange(8))
    stacks |= {MAP: smooth.expand(4, 32, 8), MAP.replace("fc1", "fc2"): smooth.mT.expand(4, 8, 32)}
    mixed = shuffled(stacks, arch)
    sorted_ = seriated(mixed, arch)
    for axis in (0, 1):
        assert low_half(mixed[MAP], axis) < 0.7
        assert low_half(sorted_[MAP], axis) > 0.9


@few
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_no_reversal_of_a_stretch_shortens_a_path(seed: int, count: int) -> None:
    x = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)
    order = seriation.path(x).tolist()
    assert sorted(order) == list(range(count))

    def length(path: list[int]) -> float:
        return float(x[path].diff(dim=0).square().sum())

    reversals = [order[:i] + order[i:j][::-1] + order[j:] for i in range(count) for j in range(i, count + 1)]
    assert length(order) <= min(map(length, reversals)) + 1e-6


def test_points_on_a_line_are_put_in_their_order() -> None:
    for places in permutations(range(5)):
        order = seriation.path(torch.tensor(places, dtype=DOUBLE)[:, None] + 1)
        assert torch.tensor(places)[order].diff().unique().abs().tolist() == [1]


@given(st.integers(0, 10_000))
@few
def test_layers_with_the_same_units_in_other_orders_are_aligned(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    units = torch.randn(6, 16, generator=generator)
    x = torch.stack([units[torch.randperm(6, generator=generator)] for _ in range(3)])
    aligned = [layer[order] for layer, order in zip(x, seriation.alike(x), strict=True)]
    assert torch.equal(aligned[0], aligned[1])
    assert torch.equal(aligned[0], aligned[2])


@pytest.mark.parametrize("method", [Front(order="alike"), BoT(order="alike")], ids=lambda m: m.name)
def test_a_learngene_in_another_order_gives_the_same_function_at_its_own_size(method: ClosedForm) -> None:
    arch = pico("vit")
    weights = trained(arch, dtype=DOUBLE)
    again = instantiate(condense(Checkpoint(arch, weights), method), arch.size)
    torch.testing.assert_close(outputs(arch, again.weights), outputs(arch, weights), rtol=1e-9, atol=1e-9)


def test_what_is_kept_for_some_sizes_is_of_the_ordered_network() -> None:
    arch, small = pico("vit"), Size(depth=1, width=4, heads=1, mlp=6)
    ancestor = Checkpoint(arch, trained(arch))
    whole, some = BoT(order="alike"), BoT(order="alike", sizes=(small,))
    for name, tensor in instantiate(condense(ancestor, whole), small).weights.items():
        torch.testing.assert_close(instantiate(condense(ancestor, some), small).weights[name], tensor)


def test_more_energy_is_kept_in_an_order_of_alike_neighbours() -> None:
    arch = pico("gpt2").at(Size(depth=2, width=32, heads=4, mlp=64))
    ancestor = Checkpoint(arch, trained(arch))
    given_, ordered = (condense(ancestor, Front(keep=0.5, order=order)) for order in ("none", "alike"))
    keys = [key for key, kind in arch.kinds.items() if kind.decays]
    energy = [sum(float(learngene.tensors[key].square().sum()) for key in keys) for learngene in (given_, ordered)]
    assert energy[1] > 1.2 * energy[0]
