"""The baselines that copy: what they keep of the ancestor, in every family."""

import pytest
import torch
from pico_families import PICOS, outputs, pico, trained
from torch.testing import assert_close

from zoo.api import condense
from zoo.architecture import Architecture, Weights
from zoo.checkpoint import Checkpoint
from zoo.errors import BadInputError
from zoo.families import FAMILIES
from zoo.learngene import Learngene
from zoo.methods.base import ClosedForm
from zoo.methods.hypercloning import HyperCloning
from zoo.methods.lemon import Lemon
from zoo.methods.ligo import Ligo
from zoo.methods.net2net import Net2Net
from zoo.methods.selection import Selection
from zoo.methods.stackbert import StackBERT
from zoo.methods.tleg import TLEG
from zoo.size import Size

COPYING = [Selection(), Net2Net(), HyperCloning(), HyperCloning(snr_db=10.0), Lemon(), StackBERT(), Ligo()]
LOSSLESS = [Net2Net(), HyperCloning(), HyperCloning(snr_db=10.0), Lemon(), Ligo(noise=0.0)]
families = pytest.mark.parametrize("family", PICOS)


def gene(method: ClosedForm, arch: Architecture, dtype: torch.dtype = torch.float64) -> Learngene:
    return condense(Checkpoint(arch, trained(arch, dtype=dtype)), method)


def scaled(size: Size, *, depth: int = 1, width: int = 1) -> Size:
    numbers = {"width": size.width, "heads": size.heads, "mlp": size.mlp}
    return Size(depth=size.depth * depth, **{name: number * width for name, number in numbers.items()})


def test_every_family_has_a_pico() -> None:
    assert {pico(name).family.name for name in PICOS} == set(FAMILIES)


@families
@pytest.mark.parametrize("method", COPYING, ids=repr)
def test_at_the_ancestors_size_the_ancestor_comes_back(method: ClosedForm, family: str) -> None:
    arch = pico(family)
    ancestor, weights = trained(arch), gene(method, arch, torch.float32).expand(arch.size)
    assert list(weights) == list(ancestor)
    assert all(torch.equal(weights[name], ancestor[name]) for name in ancestor)


@families
@pytest.mark.parametrize("times", [2, 3])
@pytest.mark.parametrize("method", LOSSLESS, ids=repr)
def test_a_whole_multiple_of_the_width_computes_the_same_function(method: ClosedForm, times: int, family: str) -> None:
    narrow = pico(family)
    wide = narrow.at(scaled(narrow.size, width=times))
    expected = outputs(narrow, trained(narrow, dtype=torch.float64))
    assert expected.std() > 0.01
    assert_close(outputs(wide, gene(method, narrow).expand(wide.size)), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("family", [name for name in PICOS if pico(name).family.mlp])
@pytest.mark.parametrize("method", [Net2Net(), Lemon(), Ligo(noise=0.0)], ids=repr)
def test_any_larger_mlp_computes_the_same_function(method: ClosedForm, family: str) -> None:
    narrow = pico(family)
    wide = narrow.at(narrow.size.model_copy(update={"mlp": narrow.size.mlp + 5}))
    expected = outputs(narrow, trained(narrow, dtype=torch.float64))
    assert_close(outputs(wide, gene(method, narrow).expand(wide.size)), expected, rtol=1e-10, atol=1e-10)


@families
@pytest.mark.parametrize("more", [1, 3])
def test_lemon_adds_blocks_that_add_nothing_or_refuses(family: str, more: int) -> None:
    shallow = pico(family)
    wanted = scaled(shallow.size, width=2).model_copy(update={"depth": shallow.size.depth + more})
    if shallow.family.residual != "pre":
        with pytest.raises(BadInputError, match=r"depth: .* the same depth where norms stand behind"):
            gene(Lemon(), shallow).expand(wanted)
        return
    deep = shallow.at(wanted)
    expected = outputs(shallow, trained(shallow, dtype=torch.float64))
    assert_close(outputs(deep, gene(Lemon(), shallow).expand(wanted)), expected, rtol=1e-10, atol=1e-10)


def vit() -> Architecture:
    """Two layers of 8 channels in two heads of 4; 12 hidden units."""
    return pico("vit")


def expanded(method: ClosedForm, depth: int, width: int, heads: int, mlp: int) -> tuple[Weights, Weights]:
    """The ancestor's weights, and those of another size."""
    size = Size(depth=depth, width=width, heads=heads, mlp=mlp)
    return trained(vit(), dtype=torch.float64), gene(method, vit()).expand(size)


def test_net2net_divides_every_input_by_its_copies() -> None:
    """Of 12 hidden units and 8 channels the first 3 and 2 appear twice."""
    before, after = expanded(Net2Net(), 2, 8, 2, 15)
    name = "blocks.1.mlp.fc2.weight"
    assert_close(after[name][:, 12:], before[name][:, :3] / 2)
    assert_close(after[name][:, :3], before[name][:, :3] / 2)
    assert torch.equal(after[name][:, 3:12], before[name][:, 3:])
    assert torch.equal(after["blocks.1.mlp.fc1.weight"][12:], before["blocks.1.mlp.fc1.weight"][:3])


def test_net2net_repeats_whole_heads() -> None:
    before, after = expanded(Net2Net(), 2, 12, 3, 12)
    queries, more = (w["blocks.0.attn.qkv.bias"][: len(w["norm.bias"])] for w in (before, after))
    assert torch.equal(more, torch.cat([queries, queries[:4]]))


@pytest.mark.parametrize("method", [Net2Net(), StackBERT(), Ligo()], ids=repr)
def test_deeper_models_stack_the_layers(method: ClosedForm) -> None:
    before, after = expanded(method, 5, 8, 2, 12)
    for i in range(5):
        for end in ("attn.qkv.weight", "norm2.bias", "mlp.fc2.weight"):
            assert torch.equal(after[f"blocks.{i}.{end}"], before[f"blocks.{i % 2}.{end}"])
    assert torch.equal(after["head.weight"], before["head.weight"])


def test_hypercloning_tiles_and_divides() -> None:
    before, after = expanded(HyperCloning(), 2, 16, 4, 24)
    name = "blocks.1.mlp.fc1.weight"
    assert_close(after[name], before[name].tile(2, 2) / 2)
    assert torch.equal(after["blocks.1.norm1.weight"], before["blocks.1.norm1.weight"].tile(2))
    assert torch.equal(after["patch_embed.proj.weight"], before["patch_embed.proj.weight"].tile(2, 1, 1, 1))


@pytest.mark.parametrize("times", [2, 3])
def test_hypercloning_adds_noise_of_the_wanted_ratio(times: int) -> None:
    numbers = (2, 8 * times, 2 * times, 12 * times)
    plain, noisy = (expanded(HyperCloning(snr_db=db), *numbers)[1] for db in (None, 20.0))
    for name in ("blocks.0.attn.proj.weight", "blocks.1.mlp.fc2.weight", "head.weight"):
        noise = noisy[name] - plain[name]
        ratio = plain[name].square().mean() / noise.square().mean()
        assert ratio.log10().item() * 10 == pytest.approx(20)


@pytest.mark.parametrize(("method", "alike"), [(Net2Net(), True), (HyperCloning(), True), (Lemon(), False)])
def test_only_lemon_lets_copies_part_ways(method: ClosedForm, alike: bool) -> None:
    """Copies whose gradients are equal stay copies for ever, however long the wide model is trained."""
    wide = vit().at(scaled(vit().size, width=2))
    model = wide.assemble(gene(method, vit(), torch.float32).expand(wide.size))
    x = torch.randn(4, 2, 8, 8, generator=torch.Generator().manual_seed(1))
    model(x).square().sum().backward()
    gradient = model.get_parameter("blocks.0.mlp.fc1.bias").grad
    assert gradient is not None
    first, second = gradient.chunk(2)
    assert torch.allclose(first, second, rtol=1e-4, atol=1e-6) == alike


def test_lemons_copies_add_up_to_the_ancestors_weights() -> None:
    before, after = expanded(Lemon(), 2, 8, 2, 30)
    parts, whole = after["blocks.0.mlp.fc2.weight"], before["blocks.0.mlp.fc2.weight"]
    sums = torch.zeros_like(whole).index_add_(1, torch.arange(30) % 12, parts)
    assert_close(sums, whole)
    assert (parts[:, :6] - parts[:, 12:18]).abs().min() > 1e-6


def test_selection_keeps_the_first_layers_evenly_spaced_units_and_whole_heads() -> None:
    before, after = expanded(Selection(), 1, 4, 1, 5)
    hidden = [0, 2, 4, 7, 9]  # floor(i 12 / 5)
    assert torch.equal(after["blocks.0.mlp.fc1.weight"], before["blocks.0.mlp.fc1.weight"][hidden][:, ::2])
    assert torch.equal(after["blocks.0.attn.proj.weight"], before["blocks.0.attn.proj.weight"][::2, :4])
    assert torch.equal(after["pos_embed"], before["pos_embed"][..., ::2])
    keys = [weights["blocks.0.attn.qkv.weight"].chunk(3)[1] for weights in (before, after)]
    assert torch.equal(keys[1], keys[0][:4, ::2])
    assert "blocks.1.norm1.weight" not in after


@pytest.mark.parametrize(
    ("method", "size", "message"),
    [
        (Selection(), (3, 8, 2, 12), "depth: 3 .* at most 2 .weight selection only takes away"),
        (Selection(), (2, 16, 4, 12), "width: 16 .* at most 8"),
        (Selection(), (2, 8, 2, 13), "mlp: 13 .* at most 12"),
        (Selection(), (2, 8, 1, 12), "heads: 1; legal here: 2"),
        (Net2Net(), (1, 8, 2, 12), "depth: 1 .* at least 2 .Net2Net only grows"),
        (Net2Net(), (2, 4, 1, 12), "width: 4 .* at least 8"),
        (Net2Net(), (2, 8, 2, 11), "mlp: 11 .* at least 12"),
        (Net2Net(), (2, 16, 2, 12), "heads: 2; legal here: 4"),
        (HyperCloning(), (2, 12, 3, 12), "width: 12 .* multiple of 8 .HyperCloning .* nearby: 8, 16"),
        (HyperCloning(), (2, 8, 2, 18), "mlp: 18 .* multiple of 12"),
        (HyperCloning(), (4, 8, 2, 12), "depth: 4 .* must be 2"),
        (Lemon(), (2, 12, 3, 12), "width: 12 .* multiple of 8 .LEMON keeps the function"),
        (Lemon(), (1, 8, 2, 12), "depth: 1 .* at least 2"),
        (StackBERT(), (2, 16, 4, 12), "width: 16 .* must be 8 .StackBERT only adds layers"),
        (StackBERT(), (1, 8, 2, 12), "depth: 1 .* at least 2"),
        (TLEG(), (2, 16, 4, 12), "width: 16 .* must be 8 .TLEG only changes the depth"),
        (TLEG(), (2, 8, 2, 24), "mlp: 24 .* must be 12"),
    ],
    ids=str,
)
def test_what_a_method_cannot_do_is_refused_with_the_reason(
    method: ClosedForm, size: tuple[int, int, int, int], message: str
) -> None:
    with pytest.raises(BadInputError, match=message):
        expanded(method, *size)
