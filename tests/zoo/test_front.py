"""FRONT: low frequencies of the weights, read back at any size."""

import re
from math import sqrt
from typing import Any, get_args

import numpy as np
import pytest
import scipy.fft
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor
from torch.testing import assert_close
from zoo_samples import few, learngene, noise, vit

from zoo.api import condense
from zoo.architecture import Architecture, Weights
from zoo.checkpoint import Checkpoint
from zoo.families import architecture
from zoo.methods.front import Front, Normalization
from zoo.size import Size
from zoo.transforms import dct

Array = NDArray[np.float64]
SOURCE = vit(depth=5, width=12, heads=3, mlp=30)
VECTOR = ("norm1.weight", "norm1.bias", "attn.proj.bias", "norm2.weight", "norm2.bias", "mlp.fc1.bias", "mlp.fc2.bias")
MATRIX = ("attn.proj.weight", "mlp.fc1.weight", "mlp.fc2.weight")


def resized(weights: Weights, source: Architecture, size: Size, **options: Any) -> Weights:
    return condense(Checkpoint(source, weights), Front(**options)).expand(size)


def close(ours: Tensor, want: Array, tolerance: float = 1e-5) -> bool:
    """Equal within a share of the whole tensor's norm."""
    return bool(np.linalg.norm(ours.numpy() - want) <= tolerance * np.linalg.norm(want))


@pytest.mark.parametrize("normalization", get_args(Normalization))
@pytest.mark.parametrize("arch", [SOURCE, vit(depth=1, width=1, heads=1, mlp=1)], ids=["small", "ones"])
def test_the_own_size_gives_the_own_weights(normalization: str, arch: Architecture) -> None:
    weights = noise(arch)
    back = resized(weights, arch, arch.size, normalization=normalization)
    for name, tensor in weights.items():
        assert_close(back[name], tensor, rtol=1e-5, atol=1e-5)


def official(x: Array, lengths: dict[int, int], layers: int | None = None) -> Array:
    """The published recipe, written down again for one stack whose axis 0 counts independent matrices.

    z-score each with its own mean and unbiased standard deviation; along each axis of `lengths` the unnormalised
    `X_k = sum_n x_n cos(pi k (2n+1) / 2N)` (half of scipy's), cut or padded, and its inverse at the new length;
    then the same along the layers; then undo the z-score, its numbers read linearly between the layers.
    """
    axes = tuple(range(1, x.ndim))
    mean, std = x.mean(axes, keepdims=True), x.std(axes, keepdims=True, ddof=1)
    signal = (x - mean) / std
    for axis, length in (lengths | ({0: layers} if layers else {})).items():
        coefficients = np.asarray(scipy.fft.dct(signal, type=2, axis=axis), np.float64) / 2
        signal = scipy.fft.idct(2 * coefficients, type=2, n=length, axis=axis)
    if layers:
        at, known = np.linspace(0, len(x) - 1, layers), np.arange(len(x))
        shape = (layers, *[1] * len(axes))
        mean, std = (np.interp(at, known, numbers.ravel()).reshape(shape) for numbers in (mean, std))
    return signal * std + mean


def official_model(weights: Weights, depth: int, size: Size, *, fused: bool) -> dict[str, Array]:
    """All tensors of a ViT by `official`; q, k and v are one matrix (`fused`) or three."""
    array = {name: tensor.double().numpy() for name, tensor in weights.items()}
    d, result = size.width, {}

    def layers(suffix: str) -> Array:
        return np.stack([array[f"blocks.{layer}.{suffix}"] for layer in range(depth)])

    def put(suffix: str, stack: Array) -> None:
        result.update({f"blocks.{layer}.{suffix}": tensor for layer, tensor in enumerate(stack)})

    for name in VECTOR + MATRIX:
        out = size.mlp if "fc1" in name else d
        inn = {2: size.mlp if "fc2" in name else d} if name in MATRIX else {}
        put(name, official(layers(name), {1: out} | inn, size.depth))
    for name, inn in (("attn.qkv.weight", {2: d}), ("attn.qkv.bias", {})):
        count = 1 if fused else 3
        parts = np.split(layers(name), count, axis=1)
        put(name, np.concatenate([official(p, {1: 3 * d // count} | inn, size.depth) for p in parts], axis=1))
    outside = {"cls_token": 2, "pos_embed": 2, "norm.weight": 0, "norm.bias": 0, "head.weight": 1}
    for name, axis in outside.items() | {"patch_embed.proj.bias": 0}.items():
        result[name] = official(array[name][None], {axis + 1: d})[0]
    _, channels, *patch = array["patch_embed.proj.weight"].shape
    matrix = array["patch_embed.proj.weight"].reshape(1, -1, np.prod(patch))
    result["patch_embed.proj.weight"] = official(matrix, {1: d * channels}).reshape(d, channels, *patch)
    return result | {"head.bias": array["head.bias"]}


@pytest.mark.parametrize(
    "size",
    [
        Size(depth=3, width=12, heads=3, mlp=30),
        Size(depth=5, width=8, heads=2, mlp=16),
        Size(depth=2, width=6, heads=3, mlp=11),
        Size(depth=1, width=4, heads=1, mlp=4),
        Size(depth=5, width=18, heads=3, mlp=40),
    ],
    ids=lambda size: f"{size}-{size.mlp}",
)
@pytest.mark.parametrize("fused", [True, False], ids=["fused", "split"])
def test_official_equals_the_published_recipe(size: Size, fused: bool) -> None:
    assert_official(vit(depth=5, width=12, heads=3, mlp=30, in_chans=3), size, fused=fused)


def deit(depth: int, heads: int) -> Size:
    return Size(depth=depth, width=64 * heads, heads=heads)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "target"), [(deit(12, 12), deit(12, 6)), (deit(12, 3), deit(4, 3))], ids=["B to S", "Ti 12 to 4 layers"]
)
def test_official_equals_the_published_recipe_for_deit(source: Size, target: Size) -> None:
    imagenet = {"img_size": 224, "patch_size": 16, "in_chans": 3, "num_classes": 1000}
    assert_official(architecture("vit", imagenet, source), target, fused=True)


def assert_official(source: Architecture, size: Size, *, fused: bool) -> None:
    """Every tensor is equal to 1e-5 of its norm."""
    weights = noise(source)
    ours = resized(weights, source, size, normalization="official", fused_qkv=fused)
    want = official_model(weights, source.size.depth, size, fused=fused)
    assert set(ours) == set(want)
    assert [name for name in ours if not close(ours[name], want[name])] == []


@pytest.mark.parametrize("width", [12, 24])
def test_a_1d_mlp_is_cut_along_the_hidden_axis_only(width: int) -> None:
    """Where the width stays, every channel keeps its own signal over the hidden units; where it changes, it follows."""
    weights = noise(SOURCE)
    learngene = condense(Checkpoint(SOURCE, weights), Front(mlp="1d", keep=0.5))
    assert learngene.tensors["blocks.{layer}.mlp.fc1.weight"].shape == (3, 15, 12)
    assert learngene.tensors["blocks.{layer}.attn.proj.weight"].shape == (3, 6, 6)
    expanded = learngene.expand(Size(depth=5, width=width, heads=3, mlp=30))
    assert expanded["blocks.0.mlp.fc1.weight"].shape == (30, width)
    back = resized(weights, SOURCE, SOURCE.size, mlp="1d")
    assert_close(back["blocks.1.mlp.fc2.weight"], weights["blocks.1.mlp.fc2.weight"], rtol=1e-5, atol=1e-5)


@few
@given(st.integers(1, 8), st.integers(1, 24), st.integers(1, 40), st.floats(-3, 3))
def test_amplitude_keeps_constants(depth: int, width: int, mlp: int, constant: float) -> None:
    weights = {name: torch.full(shape, constant) for name, shape in SOURCE.shapes().items()}
    size = Size(depth=depth, width=width, heads=1, mlp=mlp)
    for tensor in resized(weights, SOURCE, size, normalization="amplitude").values():
        assert_close(tensor, torch.full_like(tensor, constant), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("normalization", ["amplitude", "functional"])
@pytest.mark.parametrize("depth", [6, 11])
def test_equal_layers_stay_equal_in_a_deeper_model(normalization: str, depth: int) -> None:
    one = noise(SOURCE)
    weights = {name: one[re.sub(r"blocks\.\d+", "blocks.0", name)] for name in one}
    size = SOURCE.size.model_copy(update={"depth": depth})
    deeper = resized(weights, SOURCE, size, normalization=normalization)
    for layer in range(depth):
        for suffix in ("attn.qkv.weight", "mlp.fc2.weight", "norm1.bias"):
            assert_close(deeper[f"blocks.{layer}.{suffix}"], one[f"blocks.0.{suffix}"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("depth", [2, 8, 32])
def test_functional_keeps_the_spread_of_unlike_layers_in_a_shallower_model(depth: int) -> None:
    """And never shrinks it in a deeper one, where layers between others are blends of these."""
    source = vit(depth=8, width=24, heads=3, mlp=96)
    name = "blocks.{layer}.mlp.fc1.weight"
    size = source.size.model_copy(update={"depth": depth})
    before, after = noise(source), resized(noise(source), source, size)
    stds = [arch.stack(w)[name].std() for arch, w in ((source, before), (source.at(size), after))]
    assert_close(stds[1], stds[0], rtol=0.1, atol=0)


@pytest.mark.parametrize("normalization", ["amplitude", "functional"])
def test_equal_units_stay_equal_in_a_wider_mlp(normalization: str) -> None:
    weights = noise(SOURCE)
    weights = {name: t[:1].expand_as(t).clone() if "fc1" in name else t for name, t in weights.items()}
    size = SOURCE.size.model_copy(update={"mlp": 47})
    wider = resized(weights, SOURCE, size, normalization=normalization)
    want = weights["blocks.2.mlp.fc1.weight"][:1].expand(47, -1)
    assert_close(wider["blocks.2.mlp.fc1.weight"], want, rtol=1e-4, atol=1e-5)


def resample(x: Tensor, length: int) -> Tensor:
    """`x` (last axis) read at another length; constants stay constant."""
    n = x.shape[-1]
    return sqrt(length / n) * dct.inverse(dct.forward(x, -1, n), -1, length)


@few
@given(st.integers(2, 16), st.integers(2, 16), st.integers(2, 40), st.integers(2, 40))
def test_functional_maps_resampled_inputs_to_resampled_outputs(d: int, d_new: int, f: int, f_new: int) -> None:
    """`(R W R^+) (R x) = R (W x)` for every x in which no frequency is lost by R."""
    source = vit(depth=2, width=d, heads=1, mlp=f)
    old = noise(source, dtype=torch.float64)
    new = resized(old, source, Size(depth=2, width=d_new, heads=1, mlp=f_new))
    generator = torch.Generator().manual_seed(d)

    def signal(n: int, n_new: int) -> Tensor:
        low = torch.randn(min(n, n_new), generator=generator, dtype=torch.float64)
        return dct.inverse(low, -1, n)

    channels, hidden = signal(d, d_new), signal(f, f_new)
    block = "blocks.1."
    maps = [
        ("attn.proj.weight", channels, d_new),
        ("mlp.fc1.weight", channels, f_new),
        ("mlp.fc2.weight", hidden, d_new),
    ]
    for name, x, out in maps:
        x_new = resample(x, f_new if name == "mlp.fc2.weight" else d_new)
        assert_close(new[block + name] @ x_new, resample(old[block + name] @ x, out))
    for part in range(3):
        before, after = (w[block + "attn.qkv.weight"].chunk(3)[part] for w in (old, new))
        assert_close(after @ resample(channels, d_new), resample(before @ channels, d_new))
    assert_close(new["head.weight"] @ resample(channels, d_new), old["head.weight"] @ channels)
    assert_close(new[block + "mlp.fc1.bias"], resample(old[block + "mlp.fc1.bias"], f_new))
    assert_close(new["pos_embed"], resample(old["pos_embed"], d_new))


@few
@given(st.floats(0.2, 0.9), st.data())
def test_up_to_the_kept_size_nothing_is_lost(keep: float, data: st.DataObject) -> None:
    def at_most(source: int) -> int:
        return data.draw(st.integers(1, max(1, int(keep * source))))

    weights = noise(SOURCE)
    size = Size(depth=at_most(5), width=at_most(12), heads=1, mlp=at_most(30))
    part, whole = (resized(weights, SOURCE, size, keep=share) for share in (keep, 1.0))
    for name in whole:
        assert_close(part[name], whole[name])


def test_keeping_less_makes_a_smaller_learngene() -> None:
    sizes = [learngene(Front(keep=keep), SOURCE).manifest.parameters for keep in (1.0, 0.75, 0.5, 0.25)]
    assert sizes == sorted(set(sizes), reverse=True)
    assert sizes[2] < SOURCE.parameters() / 3


def test_vectors_and_embeddings_are_kept_whole() -> None:
    """They are few numbers, and they say which channel is which."""
    weights = noise(SOURCE)
    back = resized(weights, SOURCE, SOURCE.size, keep=0.25)
    maps = ("attn.qkv.weight", "attn.proj.weight", "mlp.fc1.weight", "mlp.fc2.weight")
    for name in [name for name in weights if not name.endswith(maps)]:
        assert_close(back[name], weights[name], rtol=1e-5, atol=1e-5)


def test_what_is_cut_off_matters_beyond_the_kept_size() -> None:
    weights = noise(SOURCE)
    name = "blocks.0.mlp.fc1.weight"
    part, whole = (resized(weights, SOURCE, SOURCE.size, keep=keep)[name] for keep in (0.5, 1.0))
    assert (part - whole).norm() > 0.1 * whole.norm()


@pytest.mark.parametrize("options", [{"keep": 0}, {"keep": 1.5}, {"normalization": "unitary"}, {"ratio": 0.5}])
def test_illegal_options_are_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(options))):
        Front(**options)


@pytest.mark.parametrize("width", [6, 12, 20])
def test_a_smooth_tied_output_gives_the_same_logits_at_any_width(width: int) -> None:
    """Embeddings that do not change along the channels, and the scale that the last norm gives them."""
    arch = architecture("gpt2", {"vocab_size": 11, "max_length": 6}, Size(depth=2, width=10, heads=5))
    weights = noise(arch)
    table, scale = "transformer.wte.weight", "transformer.ln_f.weight"
    weights[table] = torch.arange(11.0)[:, None].expand(11, 10).clone()
    weights[scale] = torch.full((10,), 0.5)
    changed = resized(weights, arch, Size(depth=2, width=width, heads=2))
    assert_close(changed[table] @ changed[scale], weights[table] @ weights[scale], rtol=1e-5, atol=1e-5)
