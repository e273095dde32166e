"""BoT: a smaller model is the approximation of a larger one, a larger one has details of zero."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pywt
import torch
from hypothesis import given
from hypothesis import strategies as st
from pico_families import PICOS, pico, trained
from pydantic import ValidationError
from torch import Tensor
from torch.testing import assert_close
from zoo_samples import few, noise, resnet, vit

from zoo.api import condense
from zoo.architecture import Architecture, Weights
from zoo.checkpoint import Checkpoint
from zoo.errors import BadInputError
from zoo.learngene import Learngene
from zoo.methods.bot import BoT
from zoo.size import Size
from zoo.transforms import dwt

SOURCE = vit(depth=4, width=12, heads=2, mlp=20)
LONG = vit(depth=12, width=8, heads=2, mlp=16)
RESCALES = ("none", "amplitude", "functional")
WAVELETS = ("haar", "db2", "coif3", "bior6.8", "rbio2.4")
families = pytest.mark.parametrize("family", PICOS)
wavelets = pytest.mark.parametrize("wavelet", WAVELETS)
rescales = pytest.mark.parametrize("rescale", RESCALES)


def learngene(arch: Architecture, weights: Weights | None = None, **options: Any) -> Learngene:
    return condense(Checkpoint(arch, trained(arch) if weights is None else weights), BoT(**options))


def resized(weights: Weights, source: Architecture, size: Size, **options: Any) -> Weights:
    return learngene(source, weights, **options).expand(size)


def scaled(size: Size, depth: float, width: float) -> Size:
    """Heads keep their number."""
    return Size(
        depth=int(size.depth * depth), width=int(size.width * width), heads=size.heads, mlp=int(size.mlp * width)
    )


@families
@rescales
def test_the_own_size_gives_the_own_weights_to_the_digit(family: str, rescale: str) -> None:
    arch = pico(family)
    weights = trained(arch)
    back = resized(weights, arch, arch.size, wavelet="db2", rescale=rescale)
    assert [name for name, tensor in weights.items() if not torch.equal(back[name], tensor)] == []


@pytest.mark.parametrize("family", ["vit", "bert", "gpt2", "dit", "mlp"])
@rescales
@wavelets
def test_twice_the_size_and_back_is_the_identity(family: str, rescale: str, wavelet: str) -> None:
    arch, options = pico(family), {"rescale": rescale, "wavelet": wavelet}
    weights = trained(arch)
    large = arch.at(scaled(arch.size, 2, 2))
    back = resized(resized(weights, arch, large.size, **options), large, arch.size, **options)
    for name, tensor in weights.items():
        assert_close(back[name], tensor, rtol=0, atol=1e-5)


def signals(weights: Weights, arch: Architecture) -> dict[str, Tensor]:
    """Three signals over (layer, out, in)."""
    stacks = arch.stack(weights)
    parts = dict(zip("qkv", stacks["blocks.{layer}.attn.qkv.weight"].unbind(1), strict=True))
    return parts | {"fc2": stacks["blocks.{layer}.mlp.fc2.weight"]}


@wavelets
def test_without_rescaling_it_is_the_three_dimensional_transform_of_pywavelets(wavelet: str) -> None:
    weights = noise(SOURCE, dtype=torch.float64)
    small, large = (SOURCE.at(scaled(SOURCE.size, times, times)) for times in (0.5, 2))
    downs, ups = (
        signals(resized(weights, SOURCE, arch.size, wavelet=wavelet, rescale="none"), arch) for arch in (small, large)
    )
    for name, signal in signals(weights, SOURCE).items():
        down = pywt.dwtn(signal.numpy(), wavelet, "periodization")["aaa"]
        up = pywt.idwtn({"aaa": signal.numpy()}, wavelet, "periodization")
        np.testing.assert_allclose(downs[name].numpy(), down, atol=1e-12)
        np.testing.assert_allclose(ups[name].numpy(), up, atol=1e-12)


def test_without_rescaling_small_to_large_shrinks_the_spread_to_a_third() -> None:
    """A measured fact: in three dimensions by sqrt(1/8)."""
    weights = noise(SOURCE)
    large = SOURCE.at(scaled(SOURCE.size, 2, 2))
    spreads = [
        w["blocks.0.mlp.fc1.weight"].std()
        for w in (weights, resized(weights, SOURCE, large.size, wavelet="haar", rescale="none"))
    ]
    assert spreads[1] / spreads[0] == pytest.approx(8**-0.5, rel=0.1)


sizes = st.builds(Size, depth=st.integers(1, 17), width=st.integers(1, 40), heads=st.just(1), mlp=st.integers(1, 50))


@few
@given(sizes, st.sampled_from(WAVELETS), st.floats(-3, 3))
def test_amplitude_keeps_constants(size: Size, wavelet: str, constant: float) -> None:
    weights = {name: torch.full(shape, constant) for name, shape in SOURCE.shapes().items()}
    for tensor in resized(weights, SOURCE, size, wavelet=wavelet, rescale="amplitude").values():
        assert_close(tensor, torch.full_like(tensor, constant), rtol=1e-5, atol=1e-5)


def resample(n: int, m: int, wavelet: str) -> Tensor:
    """The matrix that brings signals from n entries to m, whole levels apart; constants stay constant."""
    eye = torch.eye(n, dtype=torch.float64)
    levels = dwt.levels(n, m)
    return (m / n) ** 0.5 * (dwt.up(eye, 0, levels, wavelet) if levels > 0 else dwt.down(eye, 0, -levels, wavelet))


@pytest.mark.parametrize("times", [0.25, 0.5, 2, 4])
@wavelets
def test_functional_maps_resampled_inputs_to_resampled_outputs(wavelet: str, times: float) -> None:
    """`R W R^+`, where `R^+` is the resampling back: it undoes R where R lengthens."""
    source = vit(depth=2, width=12, heads=1, mlp=20)
    target = source.at(scaled(source.size, 1, times))
    old = noise(source, dtype=torch.float64)
    new = resized(old, source, target.size, wavelet=wavelet)
    R = {n: resample(n, int(n * times), wavelet) for n in (12, 20)}
    back = {n: resample(int(n * times), n, wavelet) for n in (12, 20)}
    for name, out, inn in (("attn.proj", 12, 12), ("mlp.fc1", 20, 12), ("mlp.fc2", 12, 20)):
        key = f"blocks.1.{name}"
        assert_close(new[f"{key}.weight"], R[out] @ old[f"{key}.weight"] @ back[inn])
        assert_close(new[f"{key}.bias"], R[out] @ old[f"{key}.bias"])
    assert_close(new["head.weight"], old["head.weight"] @ back[12])


def test_an_output_that_shares_its_weights_with_the_embedding_gives_the_same_logits() -> None:
    source = pico("gpt2")
    target = source.at(scaled(source.size, 1, 2))
    old = trained(source, dtype=torch.float64)
    new = resized(old, source, target.size, wavelet="haar")  # which repeats every number
    x = torch.randn(source.size.width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    logits = [
        w["transformer.wte.weight"] @ (w["transformer.ln_f.weight"] * x + w["transformer.ln_f.bias"])
        for w, x in ((old, x), (new, x.repeat_interleave(2)))
    ]
    assert_close(logits[1], logits[0])


@pytest.mark.parametrize("depth", [6, 18, 23, 24])
def test_equal_layers_stay_equal(depth: int) -> None:
    one = noise(LONG)
    weights = {name: one[re.sub(r"blocks\.\d+", "blocks.0", name)] for name in one}
    size = LONG.size.model_copy(update={"depth": depth})
    other = resized(weights, LONG, size, wavelet="db2")
    for name, tensor in other.items():
        assert_close(tensor, one[re.sub(r"blocks\.\d+", "blocks.0", name)], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("depth", [7, 8, 11, 13, 18])
def test_what_rises_from_layer_to_layer_does_so_at_any_depth(depth: int) -> None:
    """From the first layer of the source to its last, evenly (up to the steps of Haar)."""
    weights = noise(LONG)
    for layer in range(12):
        weights[f"blocks.{layer}.norm1.bias"] = torch.full((8,), float(layer))
    size = LONG.size.model_copy(update={"depth": depth})
    other = resized(weights, LONG, size, wavelet="haar")
    means = [other[f"blocks.{layer}.norm1.bias"].mean().item() for layer in range(depth)]
    assert means == pytest.approx(np.linspace(0, 11, depth), abs=0.51)


@pytest.mark.parametrize(
    "size", [Size(depth=3, width=9, heads=3, mlp=13), Size(depth=7, width=21, heads=3, mlp=31)], ids=str
)
@wavelets
def test_every_number_of_the_source_takes_part(size: Size, wavelet: str) -> None:
    source, method = vit(depth=5, width=12, heads=3, mlp=17), BoT(wavelet=wavelet)
    stacks = {key: stack.requires_grad_() for key, stack in source.stack(noise(source)).items()}
    made = method.expand(method.condense(stacks, source), source, source.at(size))
    torch.stack([stack.square().sum() for stack in made.values()]).sum().backward()
    for key, stack in stacks.items():
        assert stack.grad is not None
        assert stack.grad.isfinite().all()
        assert (stack.grad != 0).all(), key


@pytest.mark.parametrize("size", [Size(depth=8, width=3), Size(depth=13, width=16), Size(depth=20, width=10)], ids=str)
@wavelets
def test_variances_stay_between_those_of_the_source(size: Size, wavelet: str) -> None:
    source = resnet(depth=13, width=8, stem="deep")
    weights = noise(source)
    for name in (name for name in weights if name.endswith("running_var")):
        weights[name] = torch.full_like(weights[name], 1e-4)
        weights[name][::3] = 10.0
    other = resized(weights, source, size, wavelet=wavelet)
    for name, tensor in other.items():
        if name.endswith("running_var"):
            assert tensor.min() >= 1e-4
            assert tensor.max() <= 10


@families
def test_a_learngene_for_some_sizes_gives_them_as_the_whole_weights_do(family: str, tmp_path: Path) -> None:
    arch = pico(family)
    depth, heads = arch.size.depth, arch.size.heads and 1
    arch = arch.at(Size(depth=4 * depth, width=12, heads=heads))
    served = (Size(depth=2 * depth, width=3, heads=heads), Size(depth=depth, width=5, heads=heads))
    below = Size(depth=depth + 1, width=2, heads=heads)
    for wavelet in ("haar", "bior2.2"):
        whole, part = (learngene(arch, wavelet=wavelet, sizes=sizes) for sizes in (None, served))
        part.save(tmp_path / wavelet)
        part = Learngene.load(tmp_path / wavelet)
        assert part.manifest.parameters < whole.manifest.parameters / 2
        for size in (*served, below):
            want, got = whole.expand(size), part.expand(size)
            for name, tensor in want.items():
                assert_close(got[name], tensor, rtol=1e-5, atol=1e-6)


def test_axes_that_a_named_size_needs_whole_are_kept_whole() -> None:
    """Depth 3 of 4 and width 7 of 12 lie above half; an MLP of 5 of 20 is two levels down."""
    gene = learngene(SOURCE, sizes=(Size(depth=3, width=2, heads=1, mlp=5), Size(depth=1, width=7, heads=1, mlp=4)))
    shapes = {name: tuple(tensor.shape) for name, tensor in gene.tensors.items()}
    assert shapes["blocks.{layer}.mlp.fc1.weight"] == (4, 5, 12)
    assert shapes["blocks.{layer}.attn.qkv.weight"] == (4, 3, 12, 12)
    assert shapes["pos_embed"] == (1, 5, 12)


@pytest.mark.parametrize(
    ("field", "size"),
    [
        ("depth", Size(depth=3, width=6, heads=1, mlp=10)),
        ("width", Size(depth=2, width=7, heads=1, mlp=10)),
        ("mlp", Size(depth=2, width=6, heads=1, mlp=11)),
    ],
)
def test_a_size_beyond_what_was_kept_is_refused_by_name(field: str, size: Size) -> None:
    gene = learngene(SOURCE, sizes=(Size(depth=2, width=4, heads=1, mlp=10), Size(depth=1, width=6, heads=1, mlp=8)))
    with pytest.raises(BadInputError, match=rf"{field}: .* at most \d+ \(the learngene keeps what serves 2x4, 1x6\)"):
        gene.expand(size)


def test_a_size_that_the_family_does_not_have_is_refused_by_name() -> None:
    with pytest.raises(BadInputError, match=r"sizes: depth: 3 is not legal; it must be at least 8"):
        learngene(resnet(), sizes=(Size(depth=3, width=4),))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"wavelet": "harr"}, r"wavelet\n.*'harr' is not a discrete wavelet.*haar, db1 \.\.\. db38.*coif1"),
        ({"rescale": "energy"}, "rescale"),
        ({"sizes": []}, "sizes"),
        ({"sizes": [{"depth": 2}]}, "width"),
        ({"details": True}, "details"),
    ],
    ids=str,
)
def test_illegal_options_are_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        BoT(**options)
