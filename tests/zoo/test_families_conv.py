"""The tables of ResNet and ConvNeXt say what timm builds, at every size that timm can build."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.models import save_for_hf
from torch.utils.flop_counter import FlopCounterMode
from zoo_samples import convnext, few, images, noise, resnet

from zoo.architecture import Architecture
from zoo.checkpoint import Checkpoint, read_checkpoint, save_checkpoint
from zoo.errors import BadInputError
from zoo.families import architecture
from zoo.families.stages import apportion
from zoo.size import Size

IMAGENET = {"img_size": 224, "in_chans": 3, "num_classes": 1000}
PLAIN_50 = {"block": "bottleneck", "stem": "plain", "blocks": (3, 4, 6, 3)}
GRID = [
    resnet(),
    resnet(depth=11, width=5, img_size=15, in_chans=3),
    resnet(depth=8, width=1, img_size=1, num_classes=1),
    resnet(depth=9, width=3, block="bottleneck", blocks=(1, 2, 1, 1), img_size=33),
    resnet(depth=9, width=17, block="bottleneck", stem="plain"),
    resnet(depth=13, width=64, stem="plain", blocks=(2, 3, 5, 3), img_size=40),
    convnext(),
    convnext(depth=4, width=1),
    convnext(depth=9, width=6, img_size=15, in_chans=3, num_classes=1),
    convnext(depth=18, width=10, patch_size=4, img_size=39, blocks=(3, 3, 9, 3)),
]
grid = pytest.mark.parametrize("arch", GRID, ids=lambda a: f"{a.family.name}-{a.size}-{a.config.img_size}px")
PICO = [resnet(), resnet(block="bottleneck", width=4), convnext()]
pico = pytest.mark.parametrize("arch", PICO, ids=["basic", "bottleneck", "convnext"])


@grid
def test_names_and_shapes_equal_the_real_state_dict(arch: Architecture) -> None:
    real = arch.own(arch.skeleton().state_dict())
    assert arch.shapes() == {name: tuple(tensor.shape) for name, tensor in real.items()}


@grid
def test_parameters_equal_the_real_count(arch: Architecture) -> None:
    assert arch.parameters() == sum(parameter.numel() for parameter in arch.skeleton().parameters())


@grid
def test_flops_equal_torchs_counter_on_the_real_model(arch: Architecture) -> None:
    with FlopCounterMode(display=False) as counter:
        arch.skeleton().to("meta").eval()(images(arch, 1).to("meta"))
    assert arch.flops() == counter.get_total_flops()


@pytest.mark.parametrize(
    ("family", "config", "depth", "width", "count"),
    [
        ("resnet", {"stem": "plain"}, 8, 64, 11_689_512),
        ("resnet", {"stem": "plain", "blocks": (3, 4, 6, 3)}, 16, 64, 21_797_672),
        ("resnet", PLAIN_50, 16, 64, 25_557_032),
        ("resnet", {**PLAIN_50, "stem": "deep"}, 16, 64, 25_680_808),
        ("convnext", {}, 18, 96, 28_589_128),
    ],
    ids=["resnet18", "resnet34", "resnet50", "resnet50s", "convnext_tiny"],
)
def test_known_models_have_the_published_numbers_of_parameters(
    family: str, config: dict[str, Any], depth: int, width: int, count: int
) -> None:
    assert architecture(family, config, Size(depth=depth, width=width)).parameters() == count


@grid
def test_unstack_inverts_stack(arch: Architecture) -> None:
    weights = noise(arch)
    back = arch.unstack(arch.stack(weights))
    assert list(back) == list(arch.shapes())
    assert all(torch.equal(back[name], weights[name]) for name in weights)


@pico
def test_weight_decay_applies_to_the_maps_and_kernels_alone(arch: Architecture) -> None:
    decayed = {name for name, parameter in arch.skeleton().named_parameters() if parameter.ndim > 1}
    assert {name for key, kind in arch.kinds.items() if kind.decays for name in arch.names(key)} == decayed


@pico
def test_statistics_are_the_models_buffers(arch: Architecture) -> None:
    measured = arch.own(dict(arch.skeleton().named_buffers()))
    assert {name for key, kind in arch.kinds.items() if kind.statistic for name in arch.names(key)} == set(measured)


@pico
def test_a_block_whose_closing_tensors_are_zero_adds_nothing(arch: Architecture) -> None:
    closing = {key: kind for key, kind in arch.kinds.items() if kind.closes_branch}
    weights = noise(arch) | {name: torch.zeros(arch.shape(key)) for key in closing for name in arch.names(key)}
    model = Checkpoint(arch, weights).model
    for key in (key for key in closing if "{layer}" in key):
        block = model.get_submodule(arch.names(key)[-1].removesuffix(f".{closing[key].name}"))
        x = torch.rand(1, *arch.shape(key), 3, 3)  # what a ReLU lets through
        assert torch.equal(block(x.clone()), x)


@pico
def test_plain_timm_loads_the_folder_and_computes_the_same(arch: Architecture, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "ready", Checkpoint(arch, noise(arch)), origin="A test wrote this.")
    theirs = timm.create_model(f"local-dir:{tmp_path / 'ready'}", pretrained=True).eval()
    ours = Checkpoint(arch, noise(arch)).model(images(arch))
    assert ours.std() > 0
    assert torch.equal(theirs(images(arch)), ours)


@pytest.mark.parametrize("arch", [arch for arch in GRID if arch.size.width < 64], ids=lambda a: f"{a.size}")
def test_a_checkpoint_comes_back_bit_by_bit(arch: Architecture, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "ready", Checkpoint(arch, noise(arch)), origin="A test wrote this.")
    back, weights = read_checkpoint(tmp_path / "ready"), noise(arch)
    assert (back.arch.size, back.arch.shapes()) == (arch.size, arch.shapes())
    assert set(back.weights) == set(weights)
    assert all(torch.equal(back.weights[name], tensor) for name, tensor in weights.items())


def timm_folder(folder: Path, name: str, **arguments: Any) -> Path:
    """A folder that timm alone wrote."""
    torch.manual_seed(0)
    folder.mkdir()
    save_for_hf(timm.create_model(name, **arguments), str(folder), model_args=arguments, safe_serialization=True)
    return folder


@pytest.mark.parametrize(
    ("name", "arguments", "arch"),
    [
        ("resnet18", {}, ("resnet", {"stem": "plain", "blocks": (2, 2, 2, 2)}, 8, 64)),
        ("resnet50", {"num_classes": 5}, ("resnet", {**PLAIN_50, "num_classes": 5}, 16, 64)),
        ("resnet50s", {}, ("resnet", {**PLAIN_50, "stem": "deep"}, 16, 64)),
        ("resnet34", {"drop_path_rate": 0.2}, ("resnet", {"stem": "plain", "blocks": (3, 4, 6, 3)}, 16, 64)),
        ("convnext_tiny", {"num_classes": 5, "drop_path_rate": 0.2}, ("convnext", {"num_classes": 5}, 18, 96)),
    ],
)
def test_folders_of_timm_are_recognised(
    tmp_path: Path, name: str, arguments: dict[str, Any], arch: tuple[str, dict[str, Any], int, int]
) -> None:
    family, config, depth, width = arch
    checkpoint = read_checkpoint(timm_folder(tmp_path / "theirs", name, **arguments))
    assert checkpoint.arch == architecture(family, IMAGENET | config, Size(depth=depth, width=width))
    assert checkpoint.preprocessing is not None
    assert checkpoint.preprocessing.mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("resnet18", {"avg_down": True}, r"layer2.0.downsample.0.weight is missing"),
        ("resnet18", {"act_layer": "gelu"}, r"the model has '.*GELU.*'; family 'resnet' has '.*ReLU"),
        ("resnet18", {"output_stride": 8}, r"the model has '.*'; family 'resnet' has '.*Conv2d"),
        ("resnet18", {"global_pool": "max"}, r"the model has '.*max.*'; family 'resnet' has '.*avg"),
        ("resnet18", {"channels": [32, 64, 128, 256]}, "width: 32 is not legal .* must be 64 .*stem: deep scales"),
        ("resnet18", {"layers": [2, 2, 2, 1]}, "size.depth: 7 is not legal for 'resnet'; it must be at least 8"),
        ("resnet18", {"num_classes": 0}, "config.num_classes"),
        ("resnet50", {"base_width": 32}, r"layer1.0.conv1.weight is \(32, 64, 1, 1\), expected \(64, 64, 1, 1\)"),
        ("resnet50", {"cardinality": 2}, r"layer1.0.conv1.weight is \(128, 64, 1, 1\), expected \(64, 64, 1, 1\)"),
        ("convnext_pico", {"conv_mlp": True}, r"mlp.fc1.weight is \(256, 64, 1, 1\), expected \(256, 64\)"),
        ("convnext_pico", {"conv_mlp": False, "use_grn": True}, "mlp.grn.weight is not in the table"),
        ("convnext_atto", {"conv_mlp": False, "patch_size": 2, "stem_type": "patch"}, "patch_size: Input should be 1"),
        ("convnext_atto", {"conv_mlp": False, "norm_eps": 0.1}, r"the model has '.*eps=0.1.*'; family 'convnext' has"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_other_variants_are_refused_by_what_differs(
    tmp_path: Path, name: str, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadInputError, match=words):
        read_checkpoint(timm_folder(tmp_path / "theirs", name, **arguments))


def test_images_that_are_not_square_are_refused(tmp_path: Path) -> None:
    model = timm.create_model("convnext_atto", pretrained_cfg_overlay={"input_size": (3, 32, 64)})
    save_for_hf(model, str(tmp_path), safe_serialization=True)
    with pytest.raises(BadInputError, match="images must be square, got images of 32x64"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("family", "config", "size", "words"),
    [
        ("resnet", {"stem": "plain"}, Size(depth=8, width=32), r"size.width: 32 .* must be 64 \(timm's plain stem"),
        ("resnet", PLAIN_50, Size(depth=16, width=16), "size.width: 16 is not legal .* at least 17"),
        ("resnet", {}, Size(depth=7, width=8), "size.depth: 7 is not legal .* at least 8"),
        ("resnet", {"blocks": (2, 2)}, Size(depth=8, width=8), "config.blocks"),
        ("resnet", {}, Size(depth=8, width=8, heads=2), "size.heads: 2, but family 'resnet' has no attention"),
        ("resnet", {}, Size(depth=8, width=8, mlp=8), "size.mlp: 8, but family 'resnet' has no MLP width"),
        ("convnext", {}, Size(depth=3, width=8), "size.depth: 3 is not legal .* at least 4"),
        ("convnext", {"patch_size": 2}, Size(depth=4, width=8), "config.patch_size"),
        ("convnext", {"img_size": 31}, Size(depth=4, width=8), "^config: img_size 31 is too small for patch_size 4"),
    ],
)
def test_what_timm_cannot_build_is_refused(family: str, config: dict[str, Any], size: Size, words: str) -> None:
    with pytest.raises(BadInputError, match=words):
        architecture(family, config, size)


patterns = st.lists(st.integers(1, 9), min_size=1, max_size=5)


@few
@given(patterns, st.integers(1, 5), st.integers(1, 2))
def test_multiples_of_the_pattern_are_split_exactly(pattern: list[int], times: int, least: int) -> None:
    want = tuple(times * blocks for blocks in pattern)
    if min(want) >= least:
        assert apportion(sum(want), pattern, least) == want


@few
@given(patterns, st.integers(0, 40), st.integers(1, 2))
def test_every_depth_is_split_whole_and_grows_one_stage_by_one_block(pattern: list[int], more: int, least: int) -> None:
    depth = least * len(pattern) + more
    here, deeper = (apportion(d, pattern, least) for d in (depth, depth + 1))
    assert sum(here) == depth
    assert min(here) >= least
    assert sorted(b - a for a, b in zip(here, deeper, strict=True)) == [0] * (len(pattern) - 1) + [1]


def test_the_depths_of_known_models_come_out() -> None:
    assert apportion(16, (3, 4, 6, 3), 2) == (3, 4, 6, 3)
    assert apportion(33, (3, 4, 6, 3), 2) == (6, 8, 13, 6)
    assert apportion(9, (3, 3, 9, 3), 1) == (2, 2, 4, 1)
