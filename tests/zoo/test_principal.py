"""FRONT in the network's own order: nothing changes the function but what is left out."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pico_families import even, outputs, pico, trained

from zoo import Size
from zoo.architecture import Architecture, Weights
from zoo.errors import BadInputError
from zoo.methods.principal import Principal
from zoo.order import ordered, ranked_axes

DOUBLE = torch.float64
LARGER = [
    Size(depth=2, width=12, heads=3, mlp=12),
    Size(depth=5, width=8, heads=2, mlp=20),
    Size(depth=3, width=28, heads=7),
]


def expanded(arch: Architecture, size: Size, weights: Weights, method: Principal | None = None) -> Weights:
    method, target = method or Principal(), arch.at(size)
    method.legal(arch).check(size)
    return target.unstack(method.expand(method.condense(arch.stack(weights), arch), arch, target))


@pytest.mark.parametrize("size", LARGER, ids=str)
@pytest.mark.parametrize("family", ["vit", "gpt2"])
def test_any_larger_size_computes_what_the_ancestor_does(family: str, size: Size) -> None:
    arch = pico(family)
    weights = even(arch)
    wide = outputs(arch.at(size), expanded(arch, size, weights))
    torch.testing.assert_close(wide, outputs(arch, weights), rtol=1e-4, atol=1e-4)  # LayerNorm's epsilon sees the width


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_whole_multiples_of_the_width_keep_the_function_of_other_families(family: str) -> None:
    arch = pico(family)
    weights, size = trained(arch, dtype=DOUBLE), Size(depth=2, width=16, heads=4)
    wide = outputs(arch.at(size), expanded(arch, size, weights))
    torch.testing.assert_close(wide, outputs(arch, weights), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("family", ["bert", "bert-classification", "roberta"])
@pytest.mark.parametrize("keep", [1.0, 0.5])
@pytest.mark.parametrize("width", [4, 8, 12, 16])
def test_new_layers_add_nothing_behind_norms_either(family: str, keep: float, width: int) -> None:
    arch, method = pico(family), Principal(keep=keep)
    weights = trained(arch, dtype=DOUBLE)
    shallow, deep = (Size(depth=depth, width=width, heads=width // 4, mlp=12) for depth in (2, 5))
    want = outputs(arch.at(shallow), expanded(arch, shallow, weights, method))
    error = outputs(arch.at(deep), expanded(arch, deep, weights, method)) - want
    assert error.norm() <= 1e-4 * want.norm()  # LayerNorm's epsilon


@pytest.mark.parametrize("family", ["bert", "bert-classification", "roberta", "dit"])
def test_of_twin_channels_one_is_copied_where_the_width_is_no_multiple(family: str) -> None:
    """Norms then see every channel equally often, and the function stays."""
    arch, method = pico(family), Principal(noise=0)
    narrow, twins, wide = (Size(depth=2, width=width, heads=width // 4, mlp=12) for width in (4, 8, 12))
    weights = expanded(arch.at(narrow), twins, trained(arch.at(narrow), dtype=DOUBLE), method)
    want = outputs(arch.at(twins), weights)
    got = outputs(arch.at(wide), expanded(arch.at(twins), wide, weights, method))
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("width", "copies"), [(8, [1] * 8), (12, [2, 1] * 4), (16, [2] * 8), (20, [3, 2] * 4)])
def test_channels_copied_once_more_than_others_are_spread_over_all(width: int, copies: list[int]) -> None:
    """Neighbours are alike: copies of a few of them would move the mean and the variance that the norms see."""
    arch, size = pico("bert"), Size(depth=2, width=width, heads=width // 4)
    weights, name = trained(arch, dtype=DOUBLE), "bert.embeddings.word_embeddings.weight"
    before = ordered(arch.stack(weights), arch)[name]
    same = torch.isclose(expanded(arch, size, weights)[name][:, :, None], before[:, None]).all(0)
    assert same.sum(0).tolist() == copies


@settings(max_examples=5, deadline=None)
@given(st.floats(0, 1e-3))
def test_uneven_scales_before_a_tied_output_cost_no_more_than_their_spread(spread: float) -> None:
    arch = pico("gpt2")
    before = even(arch)
    gain = before["transformer.ln_f.weight"] * (1 + spread * torch.linspace(-1, 1, 8, dtype=DOUBLE))
    uneven = before | {"transformer.ln_f.weight": gain}
    want = outputs(arch, uneven)
    error = outputs(arch, expanded(arch, arch.size, uneven)) - want
    assert error.norm() <= 4 * spread * want.norm() + 1e-9


def test_no_two_copies_of_a_unit_are_alike() -> None:
    arch, size = pico("vit"), Size(depth=2, width=16, heads=4, mlp=24)
    weights = expanded(arch, size, trained(arch, dtype=DOUBLE))
    reads = weights["blocks.0.mlp.fc2.weight"]
    assert not torch.allclose(reads[:, :12], reads[:, 12:])


def test_frequencies_that_are_new_to_the_stream_are_read_but_not_written() -> None:
    arch, size = pico("vit"), Size(depth=2, width=16, heads=4, mlp=12)
    learngene = Principal().condense(arch.stack(trained(arch, dtype=DOUBLE)), arch)
    grown = arch.at(size).stack(expanded(arch, size, trained(arch, dtype=DOUBLE)))
    for key, axis in (("blocks.{layer}.mlp.fc1.weight", 2), ("blocks.{layer}.mlp.fc2.weight", 1)):
        from zoo.transforms import dct

        high = dct.forward(grown[key], axis, 16).narrow(axis, 8, 8)
        assert (high.abs().max() > 1e-3) == (axis == 2)
    assert learngene["blocks.{layer}.mlp.fc1.weight"].shape == (2, 12, 8)


@pytest.mark.parametrize("unit", [0, 7, 11])
def test_a_smaller_mlp_keeps_the_units_that_matter(unit: int) -> None:
    arch = pico("vit")
    weights = trained(arch, dtype=DOUBLE)
    for name in ("blocks.0.mlp.fc1.weight", "blocks.0.mlp.fc1.bias"):
        weights[name][unit] *= 100
    small = Size(depth=2, width=8, heads=2, mlp=1)
    kept = expanded(arch, small, weights)["blocks.0.mlp.fc1.bias"]
    folded = ordered(arch.stack(weights), arch)["blocks.{layer}.mlp.fc1.bias"]
    torch.testing.assert_close(kept, folded[0, :1])
    assert kept.abs() > 10


def test_what_the_stream_never_holds_can_be_left_out() -> None:
    """A ViT of 4 channels in the disguise of one of 8 becomes small again, and computes the same (by its MLPs)."""
    small = Size(depth=2, width=4, heads=1, mlp=12)
    arch = pico("vit").at(small)
    weights, size = trained(arch, dtype=DOUBLE), Size(depth=2, width=8, heads=2, mlp=12)
    weights = {name: 0 * tensor if "attn.proj" in name else tensor for name, tensor in weights.items()}
    disguised = expanded(arch, size, weights, Principal(noise=0.0))
    again = expanded(arch.at(size), small, disguised)
    torch.testing.assert_close(outputs(arch, again), outputs(arch, weights), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("quiet", "kept"), [(0, [1, 2, 3]), (3, [3])], ids=["the important", "the last"])
def test_the_most_important_layers_and_the_last_stay_in_their_order(quiet: int, kept: list[int]) -> None:
    arch = pico("gpt2").at(Size(depth=4, width=8, heads=2, mlp=12))
    weights = trained(arch, dtype=DOUBLE)
    uneven = {n: t * (0.01 if f".h.{quiet}." in n and "c_proj" in n else 1) for n, t in weights.items()}
    shallow = expanded(arch, Size(depth=len(kept), width=8, heads=2, mlp=12), uneven)
    whole = arch.unstack(ordered(arch.stack(uneven), arch))
    for now, before in enumerate(kept):
        name = "transformer.h.{}.mlp.c_fc.bias"
        torch.testing.assert_close(shallow[name.format(now)], whole[name.format(before)])


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 8))
def test_any_size_can_be_had_and_is_finite(seed: int, depth: int, heads: int) -> None:
    arch = pico("vit")
    size = Size(depth=depth, width=4 * heads, heads=heads, mlp=3 * heads)
    weights = expanded(arch, size, trained(arch, seed))
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())


def test_a_transformer_ranks_its_inner_units_only() -> None:
    assert ranked_axes(pico("vit")) == ranked_axes(pico("bert")) == ["head head_dim", "mlp"]
    assert "1*width:layer1" in ranked_axes(pico("resnet"))


@pytest.mark.parametrize(
    ("family", "maker", "between", "reader"),
    [
        ("resnet", "conv1.3.weight", "conv1.4", "conv1.6.weight"),
        ("resnet", "layer1.0.conv1.weight", "layer1.0.bn1", "layer1.0.conv2.weight"),
        ("resnet", "layer1.2.conv1.weight", "layer1.2.bn1", "layer1.2.conv2.weight"),
        ("resnet-bottleneck", "layer2.0.conv2.weight", "layer2.0.bn2", "layer2.0.conv3.weight"),
        ("resnet-bottleneck", "layer2.1.conv2.weight", "layer2.1.bn2", "layer2.1.conv3.weight"),
        (
            "convnext",
            "stages.0.blocks.0.mlp.fc1.weight",
            "stages.0.blocks.0.mlp.fc1",
            "stages.0.blocks.0.mlp.fc2.weight",
        ),
    ],
)
def test_units_between_two_maps_are_chosen_wherever_they_stand(
    family: str, maker: str, between: str, reader: str
) -> None:
    """Their order is nobody else's: changing it changes no smaller model."""
    arch = pico(family)
    weights = trained(arch, dtype=DOUBLE)
    mixed = {
        n: t.flip(0) if n == maker or (n.startswith(f"{between}.") and t.ndim == 1) else t for n, t in weights.items()
    }
    mixed[reader] = weights[reader].flip(1)
    size = Size(depth=arch.size.depth, width=arch.size.width // 2)
    torch.testing.assert_close(expanded(arch, size, mixed), expanded(arch, size, weights))


@pytest.mark.parametrize("loud", ["weight", "bias"])
def test_behind_a_batch_norm_the_channels_that_it_scales_or_shifts_most_are_kept(loud: str) -> None:
    arch = pico("resnet")
    weights = trained(arch, dtype=DOUBLE)
    for end in ("weight", "bias"):
        weights[f"layer1.0.bn1.{end}"] = torch.full((4,), 1e-6, dtype=DOUBLE)
    weights[f"layer1.0.bn1.{loud}"][[1, 3]] = 1.0
    small = expanded(arch, Size(depth=9, width=2), weights)
    torch.testing.assert_close(small[f"layer1.0.bn1.{loud}"], torch.ones(2, dtype=DOUBLE))


@pytest.mark.parametrize("large", [[0, 2], [1, 3]])
def test_a_large_map_before_a_batch_norm_makes_its_channels_no_more_important(large: list[int]) -> None:
    arch, size = pico("resnet"), Size(depth=9, width=2)
    weights = trained(arch, dtype=DOUBLE)
    kept = expanded(arch, size, weights)["layer1.0.bn1.bias"]
    weights["layer1.0.conv1.weight"][large] *= 1000
    torch.testing.assert_close(expanded(arch, size, weights)["layer1.0.bn1.bias"], kept)


@pytest.mark.parametrize("family", ["resnet", "resnet-bottleneck"])
def test_how_large_numbers_are_before_a_batch_norm_does_not_count(family: str) -> None:
    arch = pico(family)
    stacks = arch.stack(trained(arch, dtype=DOUBLE))
    larger = dict(stacks)
    for key, kind in arch.kinds.items():
        if kind.normalised_by:  # every second channel a hundred times as large
            mean, variance = (
                key.removesuffix(kind.name) + f"{kind.normalised_by}.running_{m}" for m in ("mean", "var")
            )
            scale = torch.tensor([1.0, 100.0], dtype=DOUBLE).repeat(stacks[mean].shape[-1] // 2)
            larger[key] = stacks[key] * scale.view(-1, 1, 1, 1)
            larger[mean], larger[variance] = stacks[mean] * scale, stacks[variance] * scale**2
    size = Size(depth=arch.size.depth, width=arch.size.width // 2)
    kept, of_larger = (expanded(arch, size, arch.unstack(x)) for x in (stacks, larger))
    shifts = [name for name in kept if name.endswith("bias")]
    torch.testing.assert_close([of_larger[name] for name in shifts], [kept[name] for name in shifts])


def test_heads_are_kept_whole_and_what_is_no_residual_block_stays() -> None:
    with pytest.raises(BadInputError, match="heads are kept whole"):
        Principal().legal(pico("vit")).check(Size(depth=2, width=8, heads=1, mlp=12))
    mlp = pico("mlp")
    with pytest.raises(BadInputError, match="no residual blocks"):
        Principal().legal(mlp).check(replace(mlp, size=Size(depth=3, width=6)).size)
