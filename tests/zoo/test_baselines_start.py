"""The baselines that inherit little or nothing: TLEG's line, mimetic initialization, a random start."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pico_families import PICOS, pico, trained
from torch.testing import assert_close
from zoo_samples import few, vit

from zoo.api import condense
from zoo.architecture import Architecture, Weights
from zoo.checkpoint import Checkpoint
from zoo.errors import BadInputError
from zoo.learngene import Learngene
from zoo.methods import CLOSED_FORMS
from zoo.methods.base import ClosedForm
from zoo.methods.mimetic import Mimetic
from zoo.methods.random import Random
from zoo.methods.tleg import TLEG
from zoo.size import Size

SEEDED = [Mimetic, Random]
seeded = pytest.mark.parametrize("method", SEEDED)
families = pytest.mark.parametrize("family", PICOS)


def gene(method: ClosedForm, arch: Architecture, weights: Weights | None = None) -> Learngene:
    return condense(Checkpoint(arch, weights or trained(arch, dtype=torch.float64)), method)


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_a_saved_learngene_gives_the_same_models(name: str, tmp_path: Path) -> None:
    """Also where it holds no tensors at all."""
    arch = pico("vit")
    before = gene(CLOSED_FORMS[name].model_validate({}), arch)
    before.save(tmp_path / "learngene")
    after = Learngene.load(tmp_path / "learngene")
    assert after.digest == before.digest
    first, second = before.expand(arch.size), after.expand(arch.size)
    assert all(torch.equal(first[key], second[key]) for key in arch.shapes())


def on_a_line(arch: Architecture) -> Weights:
    """Weights whose layers are linear in their position."""
    weights, slopes = trained(arch, 0, torch.float64), trained(arch, 1, torch.float64)
    for key in arch.kinds:
        first, *others = arch.names(key)
        for i, name in enumerate(others, start=1):
            weights[name] = weights[first] + i / (len(others) + 1) * slopes[first]
    return weights


@few
@given(st.integers(1, 5), st.integers(1, 9))
def test_tleg_gives_back_layers_that_lie_on_a_line_and_reads_the_line_at_any_depth(layers: int, times: int) -> None:
    arch = vit(depth=layers)
    ancestor = on_a_line(arch)
    same = gene(TLEG(), arch, ancestor).expand(arch.size)
    for name, tensor in ancestor.items():
        assert_close(same[name], tensor)
    deep = gene(TLEG(), arch, ancestor).expand(arch.size.model_copy(update={"depth": layers * times}))
    for i in range(layers):
        assert_close(deep[f"blocks.{i * times}.mlp.fc1.weight"], ancestor[f"blocks.{i}.mlp.fc1.weight"])


def test_tlegs_line_is_the_nearest_one() -> None:
    """What least squares leaves over is orthogonal to constants and to the positions."""
    arch = vit(depth=5)
    weights = trained(arch, dtype=torch.float64)
    line = gene(TLEG(), arch, weights).expand(arch.size)
    left = torch.stack([weights[f"blocks.{i}.attn.qkv.weight"] - line[f"blocks.{i}.attn.qkv.weight"] for i in range(5)])
    assert left.abs().max() > 0.1
    positions = torch.arange(5, dtype=torch.float64)
    assert_close(left.sum(0), torch.zeros_like(left[0]), atol=1e-12, rtol=0)
    assert_close(torch.tensordot(positions, left, 1), torch.zeros_like(left[0]), atol=1e-12, rtol=0)


@pytest.mark.parametrize("family", [name for name in PICOS if any(k.statistic for k in pico(name).kinds.values())])
def test_tleg_leaves_no_variance_negative(family: str) -> None:
    arch = pico(family)
    deep = arch.at(arch.size.model_copy(update={"depth": 4 * arch.size.depth}))
    weights = gene(TLEG(), arch).expand(deep.size)
    statistics = [name for key, kind in deep.kinds.items() if kind.statistic for name in deep.names(key)]
    assert all(weights[name].min() >= 0.5 for name in statistics)  # as small as the ancestor's


@seeded
def test_nothing_is_kept_of_the_ancestor(method: type[Mimetic | Random]) -> None:
    learngene = gene(method(), vit())
    assert dict(learngene.tensors) == {}
    assert learngene.manifest.parameters == 0


@seeded
def test_the_seed_decides_and_the_callers_generator_is_left_alone(method: type[Mimetic | Random]) -> None:
    arch, state = vit(), torch.random.get_rng_state()
    first, again, other = (gene(method(seed=seed), arch).expand(arch.size) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["blocks.0.attn.qkv.weight"], other["blocks.0.attn.qkv.weight"])


@families
def test_random_is_the_librarys_own_start(family: str) -> None:
    arch = pico(family)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        library = arch.own(arch.build().state_dict())
    weights = gene(Random(seed=5), arch).expand(arch.size)
    assert list(weights) == list(arch.shapes())
    assert all(torch.equal(weights[name], library[name]) for name in weights)


ATTENTIVE = [name for name in PICOS if pico(name).family.attention]


def products(arch: Architecture, weights: Weights) -> tuple[torch.Tensor, torch.Tensor]:
    """`W_query^T W_key` of every layer and head, `(layer, head, width, width)`; `W_out W_value` of every layer."""
    stacks, maps = arch.stack(weights), {}
    for key, kind in arch.kinds.items():
        if kind.attention == "qkv":
            maps |= dict(zip(("query", "key", "value"), stacks[key].unbind(1), strict=True))
        elif kind.attention:
            maps[kind.attention] = stacks[key]
    query, keys = (maps[name].unflatten(1, (arch.size.heads, -1)) for name in ("query", "key"))
    return query.mT @ keys, maps["out"] @ maps["value"]


@pytest.mark.parametrize("family", ATTENTIVE)
def test_mimetic_products_are_noise_about_the_identity(family: str) -> None:
    source = pico(family)
    arch = source.at(Size(depth=3, width=64, heads=2, mlp=16))
    qk, vo = products(arch, gene(Mimetic(), source).expand(arch.size))
    noise = vo + 0.4 * torch.eye(64)
    assert noise.std().item() == pytest.approx(0.4 / 8, rel=0.05)
    assert abs(noise.mean().item()) < 0.01
    diagonal = qk.diagonal(dim1=-2, dim2=-1)
    assert (diagonal.mean() > 20 * (qk - diagonal.diag_embed()).mean().abs()).item()
    assert torch.linalg.matrix_rank(qk).tolist() == [[32, 32]] * 3


def test_queries_and_keys_of_a_mimetic_head_share_the_singular_values() -> None:
    arch = vit(depth=1, width=16, heads=2, mlp=16)
    query, key, _ = gene(Mimetic(), arch).expand(arch.size)["blocks.0.attn.qkv.weight"].chunk(3)
    for q, k in zip(query.chunk(2), key.chunk(2), strict=True):
        values = torch.linalg.svdvals(q.T @ k)[:8].flip(0).diag()
        assert_close(q @ q.T, values, atol=1e-5, rtol=0)
        assert_close(k @ k.T, values, atol=1e-5, rtol=0)


def test_a_single_mimetic_head_without_noise_is_the_scaled_identity() -> None:
    arch = vit(depth=1, width=16, heads=1, mlp=16)
    weights = gene(Mimetic(alpha_qk=0.0, beta_qk=0.7, alpha_vo=0.0, beta_vo=-0.3), arch).expand(arch.size)
    qk, vo = products(arch, weights)
    assert_close(qk[0, 0], 0.7 * torch.eye(16), atol=1e-6, rtol=0)
    assert_close(vo[0], 0.3 * torch.eye(16), atol=1e-6, rtol=0)
    assert torch.linalg.svdvals(weights["blocks.0.attn.proj.weight"]) == pytest.approx(0.3**0.5)


def test_mimetic_sets_only_the_maps_of_the_attention() -> None:
    arch = vit()
    mimetic, library = (gene(method, arch).expand(arch.size) for method in (Mimetic(seed=1), Random(seed=1)))
    changed = {name for name in library if not torch.equal(mimetic[name], library[name])}
    assert changed == {f"blocks.{i}.attn.{end}" for i in range(2) for end in ("qkv.weight", "proj.weight")}


@pytest.mark.parametrize("family", [name for name in PICOS if name not in ATTENTIVE])
def test_mimetic_refuses_families_without_attention(family: str) -> None:
    arch = pico(family)
    with pytest.raises(BadInputError, match=f"family '{arch.family.name}' has no attention"):
        gene(Mimetic(), arch).expand(arch.size)
