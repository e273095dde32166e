"""mu-pscaling: what is repeated, what is divided, what gets noise, and what that does to values and gradients."""

import pytest
import torch
from pico_families import PICOS, outputs, pico, sample, trained
from torch import Tensor
from torch.testing import assert_close

from zoo.api import condense
from zoo.architecture import Architecture, Weights
from zoo.checkpoint import Checkpoint
from zoo.errors import BadInputError
from zoo.methods.mupscaling import Multipliers, MuPScaling, multipliers, named_multipliers, tiled
from zoo.size import Size
from zoo.units import widen

families = pytest.mark.parametrize("family", PICOS)


def wider(arch: Architecture, times: int, mlp_times: int | None = None) -> Architecture:
    size = arch.size
    mlp = size.mlp * (mlp_times if mlp_times and arch.family.mlp else times)
    return arch.at(Size(depth=size.depth, width=size.width * times, heads=size.heads * times, mlp=mlp))


def expanded(arch: Architecture, target: Architecture, **options: float) -> Weights:
    checkpoint = Checkpoint(arch, trained(arch, dtype=torch.float64))
    return condense(checkpoint, MuPScaling(**options)).expand(target.size)  # pyright: ignore[reportArgumentType]


@families
def test_at_its_own_size_a_model_comes_back_even_with_noise(family: str) -> None:
    arch = pico(family)
    before, after = trained(arch, dtype=torch.float64), expanded(arch, arch, noise=0.5)
    assert all(torch.equal(after[name], before[name]) for name in before)


@families
@pytest.mark.parametrize(("times", "mlp_times"), [(2, 2), (3, 2), (1, 3)])
def test_the_wide_model_computes_the_same_function(family: str, times: int, mlp_times: int) -> None:
    narrow = pico(family)
    wide = wider(narrow, times, mlp_times)
    expected = outputs(narrow, trained(narrow, dtype=torch.float64))
    assert_close(outputs(wide, expanded(narrow, wide)), expected, rtol=1e-10, atol=1e-10)


@families
def test_gradients_of_the_wide_model_are_the_narrow_ones_times_g(family: str) -> None:
    narrow = pico(family)
    wide = wider(narrow, 3, 2)
    before, after = gradients(narrow, trained(narrow, dtype=torch.float64)), gradients(wide, expanded(narrow, wide))
    by_name = named_multipliers(narrow, wide)
    expected = tiled({name: grad * by_name[name].g for name, grad in before.items()}, narrow, wide)
    assert after.keys() == expected.keys()
    for name, grad in after.items():
        assert_close(grad, expected[name], rtol=1e-9, atol=1e-12)


def gradients(arch: Architecture, weights: Weights) -> dict[str, Tensor]:
    model, x = arch.assemble(weights).double().eval(), sample(arch, torch.float64)
    output = model(**x) if isinstance(x, dict) else model(x)
    getattr(output, "logits", output).square().sum().backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@families
def test_values_are_those_of_function_preserving_widening(family: str) -> None:
    """s is what Net2Net divides by."""
    narrow = pico(family)
    wide = wider(narrow, 2)
    stacks = narrow.stack(trained(narrow, dtype=torch.float64))
    mine = MuPScaling().expand(stacks, narrow, wide)
    for key, stack in stacks.items():
        assert_close(mine[key], widen(stack, key, narrow, wide), rtol=0, atol=0)


def test_multipliers_of_every_sort_of_tensor() -> None:
    """Three times the width, twice the MLP width."""
    vit, gpt2 = pico("vit"), pico("gpt2")
    found = multipliers(vit, wider(vit, 3, 2)) | multipliers(gpt2, wider(gpt2, 3, 2))
    expected = {
        "blocks.{layer}.attn.qkv.weight": Multipliers(s=3, g=1 / 3, copies=9),
        "blocks.{layer}.attn.qkv.bias": Multipliers(s=1, g=1 / 3, copies=3),
        "blocks.{layer}.mlp.fc1.weight": Multipliers(s=3, g=1 / 2, copies=6),
        "blocks.{layer}.mlp.fc1.bias": Multipliers(s=1, g=1 / 2, copies=2),
        "blocks.{layer}.mlp.fc2.weight": Multipliers(s=2, g=1 / 3, copies=6),
        "patch_embed.proj.weight": Multipliers(s=1, g=1 / 3, copies=3),
        "pos_embed": Multipliers(s=1, g=1 / 3, copies=3),
        "norm.weight": Multipliers(s=1, g=1 / 3, copies=3),
        "head.weight": Multipliers(s=3, g=1, copies=3),
        "head.bias": Multipliers(s=1, g=1, copies=1),
        "transformer.h.{layer}.mlp.c_fc.weight": Multipliers(s=3, g=1 / 2, copies=6),
        "transformer.wte.weight": Multipliers(s=1, g=1 / 3, copies=3),
        "transformer.ln_f.weight": Multipliers(s=3, g=1, copies=3),
    }
    assert {key: found[key] for key in expected} == expected


def test_noise_has_the_papers_spread() -> None:
    """`noise / sqrt(fan_in)` between widths, `noise` for inputs and embeddings, 0 elsewhere."""
    s = 0.3
    vit = pico("vit").at(Size(depth=2, width=64, heads=4, mlp=96))
    wide = wider(vit, 2)
    plain, noisy = expanded(vit, wide), expanded(vit, wide, noise=s)
    spread = {name: (noisy[name] - plain[name]).square().mean().sqrt().item() for name in plain}
    expected = {
        "blocks.1.attn.qkv.weight": s / 128**0.5,
        "blocks.0.attn.proj.weight": s / 128**0.5,
        "blocks.0.mlp.fc2.weight": s / 192**0.5,
        "patch_embed.proj.weight": s,
        "pos_embed": s,
        "cls_token": s,
        "patch_embed.proj.bias": 0,
        "blocks.0.norm1.weight": 0,
        "blocks.0.attn.qkv.bias": 0,
        "head.weight": 0,
        "head.bias": 0,
    }
    # cls_token has 128 numbers: the spread of so few is known to one part in sixteen.
    assert {name: spread[name] for name in expected} == pytest.approx(expected, rel=0.2)


def test_noise_of_kernels_counts_all_their_inputs() -> None:
    resnet = pico("resnet").at(Size(depth=8, width=16))
    wide = wider(resnet, 2)
    plain, noisy = expanded(resnet, wide), expanded(resnet, wide, noise=1.0)
    difference = noisy["layer2.1.conv1.weight"] - plain["layer2.1.conv1.weight"]
    assert difference.std().item() == pytest.approx((64 * 9) ** -0.5, rel=0.05)
    assert torch.equal(noisy["bn1.running_var"], plain["bn1.running_var"])


def test_noise_follows_its_seed() -> None:
    vit = pico("vit")
    wide = wider(vit, 2)
    first, again, other = (expanded(vit, wide, noise=0.1, seed=seed)["pos_embed"] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_tiling_takes_the_tensors_that_are_there() -> None:
    """An optimizer holds no state for statistics, and none for what it does not train."""
    resnet = pico("resnet")
    wide = wider(resnet, 2)
    x = trained(resnet)["layer1.0.conv1.weight"]
    (found,) = tiled({"layer1.0.conv1.weight": x}, resnet, wide).values()
    assert torch.equal(found, x.tile(2, 2, 1, 1))


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((2, 12, 3, 12), "width: 12 .* multiple of 8 .mu-pscaling repeats units.* nearby: 8, 16"),
        ((2, 16, 4, 18), "mlp: 18 .* multiple of 12"),
        ((3, 16, 4, 24), "depth: 3 .* must be 2"),
        ((2, 16, 2, 24), "heads: 2; legal here: 4"),
    ],
    ids=str,
)
def test_other_sizes_are_refused_with_the_reason(size: tuple[int, int, int, int], message: str) -> None:
    depth, width, heads, mlp = size
    vit = pico("vit")
    with pytest.raises(BadInputError, match=message):
        expanded(vit, vit.at(Size(depth=depth, width=width, heads=heads, mlp=mlp)))
