"""Kronecker templates and scalers: one learngene, exact at its own size, any multiple of its tile."""

import pytest
import torch
from pydantic import ValidationError
from torch.testing import assert_close
from zoo_samples import images, learngene, noise, vit

from zoo.architecture import Architecture
from zoo.checkpoint import Checkpoint
from zoo.errors import BadInputError
from zoo.methods.kronecker import FREE, SCALERS, TEMPLATES, Kronecker
from zoo.size import Size

METHOD = Kronecker(tile=4, templates=3)
SOURCE = vit(depth=3, width=8, heads=2, mlp=16)
OTHERS = [
    Size(depth=2, width=4, heads=1, mlp=8),
    Size(depth=5, width=12, heads=3, mlp=20),
    Size(depth=3, width=16, heads=4, mlp=16),
]
COMPOSED = ("attn.qkv.weight", "attn.proj.weight", "mlp.fc1.weight", "mlp.fc2.weight")
others = pytest.mark.parametrize("size", OTHERS, ids=str)


def test_the_own_size_gives_the_sum_of_kronecker_products_and_the_free_tensors() -> None:
    gene = learngene(METHOD, SOURCE)
    weights = gene.expand(SOURCE.size)
    for name in ("attn.proj.weight", "mlp.fc1.weight", "mlp.fc2.weight"):
        scalers, templates = (gene.tensors[group + "blocks.{layer}." + name] for group in (SCALERS, TEMPLATES))
        for layer in range(3):
            terms = [torch.kron(scalers[layer, ..., n], templates[n]) for n in range(3)]
            assert_close(weights[f"blocks.{layer}.{name}"], torch.stack(terms).sum(0))
    queries = [gene.tensors[g + "blocks.{layer}.attn.qkv.weight"] for g in (SCALERS, TEMPLATES)]
    first = torch.stack([torch.kron(queries[0][2, 0, ..., n], queries[1][n]) for n in range(3)]).sum(0)
    assert_close(weights["blocks.2.attn.qkv.weight"][:8], first)
    assert torch.equal(weights["pos_embed"], gene.tensors[FREE + "pos_embed"])
    assert torch.equal(weights["blocks.1.norm2.bias"], gene.tensors[FREE + "blocks.{layer}.norm2.bias"][1])


def test_only_repeated_matrices_are_composed() -> None:
    composed = {name.removeprefix(SCALERS) for name in learngene(METHOD, SOURCE).tensors if name.startswith(SCALERS)}
    assert composed == {"blocks.{layer}." + name for name in COMPOSED}


@others
def test_a_resized_learngene_expands_to_the_same_weights(size: Size) -> None:
    tensors, target = learngene(METHOD, SOURCE).tensors, SOURCE.at(size)
    direct = METHOD.expand(tensors, SOURCE, target)
    there = METHOD.expand(METHOD.resize(tensors, SOURCE, target), target, target)
    assert list(direct) == list(there)
    assert all(torch.equal(direct[key], there[key]) for key in direct)


@others
def test_a_resized_learngene_has_the_tensors_of_one_made_there(size: Size) -> None:
    target = SOURCE.at(size)
    resized = METHOD.resize(learngene(METHOD, SOURCE).tensors, SOURCE, target)
    made_there = METHOD.start(target, 0)
    assert {name: t.shape for name, t in resized.items()} == {name: t.shape for name, t in made_there.items()}


@others
def test_templates_serve_all_sizes_as_they_are(size: Size) -> None:
    tensors = learngene(METHOD, SOURCE).tensors
    resized = METHOD.resize(tensors, SOURCE, SOURCE.at(size))
    shared = {name for name in tensors if METHOD.shared(name)}
    assert shared == {TEMPLATES + "blocks.{layer}." + name for name in COMPOSED}
    assert all(torch.equal(resized[name], tensors[name]) for name in shared)


def logits(arch: Architecture, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        return Checkpoint(arch, weights).model(images(arch, 4))


@pytest.mark.parametrize("times", [2, 3])
def test_a_multiple_of_the_width_computes_the_same_function(times: int) -> None:
    """Exact Net2Net: whole heads are repeated, every sum over inputs is divided, LayerNorm sees repeated channels."""
    source = vit(depth=6, width=96, heads=3, mlp=384, img_size=32, patch_size=8, in_chans=3, num_classes=10)
    method = Kronecker(tile=32, templates=5)
    tensors = method.start(source, 0)
    free = source.stack(noise(source, 1))
    tensors |= {name: 0.1 * free[name.removeprefix(FREE)] for name in tensors if name.startswith(FREE)}
    tensors = {name: 3 * t if name.startswith(SCALERS) else t for name, t in tensors.items()}
    wide = source.at(Size(depth=6, width=96 * times, heads=3 * times, mlp=384 * times))
    narrow_logits = logits(source, source.unstack(method.expand(tensors, source, source)))
    wide_logits = logits(wide, wide.unstack(method.expand(tensors, source, wide)))
    assert narrow_logits.std() > 0.01
    assert_close(wide_logits, narrow_logits, rtol=1e-5, atol=1e-5)


def test_a_narrower_model_takes_the_first_channels() -> None:
    gene = learngene(METHOD, SOURCE)
    whole, part = gene.expand(SOURCE.size), gene.expand(Size(depth=3, width=4, heads=1, mlp=8))
    assert torch.equal(part["blocks.1.mlp.fc2.weight"], whole["blocks.1.mlp.fc2.weight"][:4, :8])
    assert torch.equal(part["head.weight"], whole["head.weight"][:, :4])
    keys = [weights["blocks.0.attn.qkv.weight"].chunk(3)[1] for weights in (part, whole)]
    assert torch.equal(keys[0], keys[1][:4, :4])


def test_a_deeper_model_keeps_the_first_and_last_layer() -> None:
    gene = learngene(METHOD, SOURCE)
    shallow, deep = gene.expand(SOURCE.size), gene.expand(Size(depth=5, width=8, heads=2, mlp=16))
    for suffix in (*COMPOSED, "norm1.bias"):
        assert_close(deep[f"blocks.0.{suffix}"], shallow[f"blocks.0.{suffix}"])
        assert_close(deep[f"blocks.4.{suffix}"], shallow[f"blocks.2.{suffix}"])
        between = (shallow[f"blocks.0.{suffix}"] + shallow[f"blocks.1.{suffix}"]) / 2
        assert_close(deep[f"blocks.1.{suffix}"], between)


@pytest.mark.parametrize("templates", [1, 5, 10])
def test_composed_matrices_start_with_vits_spread(templates: int) -> None:
    arch = vit(depth=4, width=96, heads=3, mlp=384)
    method = Kronecker(tile=32, templates=templates)
    stacks = method.expand(method.start(arch, 0), arch, arch)
    for name in COMPOSED:
        stack = stacks["blocks.{layer}." + name]
        assert stack.std().item() == pytest.approx(0.02, rel=0.1)
        assert abs(stack.mean().item()) < 0.002


def test_free_tensors_start_as_the_library_starts_them() -> None:
    tensors = METHOD.start(SOURCE, 0)
    assert torch.equal(tensors[FREE + "norm.weight"], torch.ones(8))
    assert torch.equal(tensors[FREE + "blocks.{layer}.attn.qkv.bias"], torch.zeros(3, 3, 8))
    assert tensors[FREE + "pos_embed"].std().item() == pytest.approx(0.02, rel=0.5)


def test_the_seed_decides_the_start_and_the_callers_generator_is_left_alone() -> None:
    state = torch.random.get_rng_state()
    first, again, other = (METHOD.start(SOURCE, seed) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(first[name], again[name]) for name in first)
    random = [name for name in first if name.startswith((TEMPLATES, SCALERS)) or name.endswith("pos_embed")]
    assert not any(torch.equal(first[name], other[name]) for name in random)


@pytest.mark.parametrize(
    ("width", "mlp", "message"),
    [
        (10, 16, r"width: 10 is not legal; .*a multiple of 4 .*legal values nearby: 8, 12"),
        (8, 30, r"mlp: 30 is not legal; .*a multiple of 4 .*legal values nearby: 28, 32"),
        (2, 16, r"width: 2 is not legal; .*a multiple of 4 .*legal values nearby: 4"),
    ],
)
def test_a_start_that_the_tile_does_not_divide_is_refused(width: int, mlp: int, message: str) -> None:
    with pytest.raises(BadInputError, match=f"{message}$"):
        METHOD.start(vit(width=width, heads=2, mlp=mlp), 0)


@pytest.mark.parametrize("options", [{"tile": 0}, {"templates": 0}, {"tiles": 4}])
def test_illegal_options_are_refused_by_name(options: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match=next(iter(options))):
        Kronecker.model_validate(options)
