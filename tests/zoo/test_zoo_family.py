"""The table of a family says what the real library builds."""

from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pico_families import PICOS, outputs, pico, trained
from torch.utils.flop_counter import FlopCounterMode
from zoo_samples import few, noise, vit

from zoo.architecture import Architecture
from zoo.errors import BadInputError
from zoo.families import FAMILIES, architecture
from zoo.families.vit import timm_args
from zoo.places import places_of
from zoo.size import Size

IMAGENET = {"img_size": 224, "patch_size": 16, "in_chans": 3, "num_classes": 1000}
GRID = [
    vit(),
    vit(depth=1, width=8, heads=1, mlp=32),
    vit(depth=3, width=12, heads=3, mlp=20),
    vit(depth=2, width=10, heads=10, mlp=7),
    vit(depth=1, width=1, heads=1, mlp=1),
    vit(img_size=12, patch_size=3, in_chans=3, num_classes=5),
    vit(img_size=4, patch_size=4, num_classes=1),
    vit(depth=12, width=192, heads=3, mlp=768, **IMAGENET),
]
grid = pytest.mark.parametrize("arch", GRID, ids=lambda arch: f"{arch.size}-{arch.config.img_size}px")


@grid
def test_names_and_shapes_equal_the_real_state_dict(arch: Architecture) -> None:
    real = {name: tuple(tensor.shape) for name, tensor in arch.skeleton().state_dict().items()}
    assert arch.shapes() == real


@grid
def test_parameters_equal_the_real_count(arch: Architecture) -> None:
    assert arch.parameters() == sum(parameter.numel() for parameter in arch.skeleton().parameters())


@grid
def test_flops_equal_torchs_counter_on_the_real_model(arch: Architecture) -> None:
    config = arch.config.model_dump()
    image = torch.zeros(1, config["in_chans"], config["img_size"], config["img_size"], device="meta")
    with FlopCounterMode(display=False) as counter:
        arch.skeleton()(image)
    assert arch.flops() == counter.get_total_flops()


@pytest.mark.parametrize(
    ("width", "heads", "count"), [(192, 3, 5_717_416), (384, 6, 22_050_664), (768, 12, 86_567_656)]
)
def test_deit_has_the_published_numbers_of_parameters(width: int, heads: int, count: int) -> None:
    assert vit(depth=12, width=width, heads=heads, mlp=4 * width, **IMAGENET).parameters() == count


@few
@given(head_dim=st.integers(1, 64), heads=st.integers(1, 16), mlp=st.integers(1, 5000))
def test_timm_gets_exactly_the_wanted_mlp(head_dim: int, heads: int, mlp: int) -> None:
    """timm computes `int(width * mlp_ratio)`, which must not lose a unit by rounding."""
    width = head_dim * heads
    args = timm_args(vit(width=width, heads=heads, mlp=mlp))
    assert int(width * args["mlp_ratio"]) == mlp


def test_weight_decay_applies_to_what_timm_decays() -> None:
    arch = vit(depth=1)
    model = arch.skeleton()
    kept_out = model.get_parameter("cls_token"), model.get_parameter("pos_embed")
    decayed = {name for name, p in model.named_parameters() if p.ndim > 1 and all(p is not k for k in kept_out)}
    assert {key.format(layer=0) for key, kind in arch.kinds.items() if kind.decays} == decayed


@few
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5), st.integers(1, 24))
def test_unstack_inverts_stack(depth: int, heads: int, head_dim: int, mlp: int) -> None:
    arch = vit(depth, heads * head_dim, heads, mlp)
    weights = noise(arch)
    back = arch.unstack(arch.stack(weights))
    assert list(back) == list(arch.shapes())
    assert all(torch.equal(back[name], weights[name]) for name in weights)


def test_stacks_have_the_axes_of_the_table() -> None:
    arch = vit(depth=3, width=8, heads=2, mlp=20)
    stacks = arch.stack(noise(arch))
    assert {key: tuple(axis.extent for axis in arch.axes(key)) for key in stacks} == {
        key: tuple(stack.shape) for key, stack in stacks.items()
    }
    roles = [(axis.extent, axis.role) for axis in arch.axes("blocks.{layer}.attn.qkv.weight")]
    assert roles == [(3, "layer"), (3, "part"), (8, "out"), (8, "in")]


def test_a_stack_of_qkv_keeps_queries_keys_and_values_apart() -> None:
    arch = vit(depth=2, width=8)
    weights = noise(arch)
    keys = arch.stack(weights)["blocks.{layer}.attn.qkv.weight"][1, 1]
    assert torch.equal(keys, weights["blocks.1.attn.qkv.weight"][8:16])


def test_missing_wrong_and_extra_tensors_are_named() -> None:
    arch = vit()
    weights = noise(arch)
    del weights["norm.bias"]
    weights["blocks.1.mlp.fc1.weight"] = torch.zeros(3, 5)
    weights["fc_norm.weight"] = torch.zeros(8)
    with pytest.raises(BadInputError) as caught:
        arch.stack(weights)
    message = str(caught.value)
    assert "norm.bias is missing, expected (8,)" in message
    assert "blocks.1.mlp.fc1.weight is (3, 5), expected (16, 8)" in message
    assert "fc_norm.weight is not in the table" in message


def test_of_many_wrong_tensors_the_first_are_named_and_the_rest_counted() -> None:
    with pytest.raises(BadInputError, match=r"norm1.weight is missing.*\(and \d+ more\)"):
        vit().stack({})


@pytest.mark.parametrize("name", PICOS)
def test_families_whose_norms_stand_behind_sums_say_which_norms_do(name: str) -> None:
    arch = pico(name)
    kinds = [kind for kind in arch.kinds.values() if kind.behind_sum]
    ends = {(kind.behind_sum, kind.name.rpartition(".")[2]) for kind in kinds}
    post = {(place, end) for place in ("inner", "last") for end in ("weight", "bias")}
    assert ends == (post if arch.family.residual == "post" else set())


def test_an_unknown_family_is_refused_with_the_legal_names() -> None:
    with pytest.raises(BadInputError, match=f"family: 'lstm' is not known; legal values: {', '.join(FAMILIES)}"):
        architecture("lstm", {}, Size(depth=1, width=8, heads=2))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"image_size": 8}, ["config.image_size", "img_size, patch_size, in_chans, num_classes"]),
        ({"img_size": 8, "patch_size": 3}, ["patch_size 3 does not divide img_size 8", "1, 2, 4, 8"]),
        ({"num_classes": 0}, ["config.num_classes", "greater than 0"]),
    ],
)
def test_a_wrong_config_is_refused_with_its_field_and_what_is_legal(config: dict[str, int], words: list[str]) -> None:
    with pytest.raises(BadInputError) as caught:
        architecture("vit", config, Size(depth=1, width=8, heads=2))
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("name", ["resnet", "resnet-bottleneck", "convnext"])
def test_axes_of_one_name_have_the_same_units_for_a_reason(name: str) -> None:
    """No part of the places of a name could be put in another order alone. (Those of a stage's stream are too many.)"""
    arch = pico(name).at(Size(depth=9, width=4))
    stacks = arch.stack(trained(arch, dtype=torch.float64))
    want = outputs(arch, arch.unstack(stacks))
    for axis in dict.fromkeys(axis.name for key in arch.kinds for axis in arch.axes(key) if axis.role == "out"):
        first, *others = places_of(axis, arch)
        if len(others) > 6:
            continue
        for count in range(len(others)):
            for part in combinations(others, count):
                flipped = dict(stacks)
                for key, i in (first, *part):
                    flipped[key] = flipped[key].flip(i)
                error = outputs(arch, arch.unstack(flipped)) - want
                assert error.norm() > 1e-9 * want.norm(), (axis, part)
