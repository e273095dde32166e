"""Checkpoint folders: timm loads ours, we read timm's, and refuse by name what we cannot use."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf
from torch.testing import assert_close
from zoo_samples import images, noise, vit

from zoo.api import condense, instantiate
from zoo.architecture import Architecture
from zoo.checkpoint import CARD, CONFIG, WEIGHTS, Checkpoint, read_checkpoint, save_checkpoint
from zoo.errors import BadInputError, IntegrityError, NotFoundError
from zoo.files import digest_file
from zoo.manifest import Preprocessing
from zoo.methods.front import Front

ARCH = vit(depth=2, width=12, heads=3, mlp=20, in_chans=3)
ORIGIN = "Started from a test."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "ready", Checkpoint(ARCH, noise(ARCH)), origin=ORIGIN)
    return tmp_path / "ready"


def timm_folder(path: Path, name: str = "test_vit", **arguments: Any) -> Path:
    """A folder as timm itself writes it."""
    model = timm.create_model(name, pretrained=False, **arguments)
    save_for_hf(model, str(path), model_args=arguments, safe_serialization=True)
    return path


@pytest.mark.parametrize(
    "arch",
    [ARCH, vit(depth=1, width=10, heads=10, mlp=7, in_chans=3), vit(depth=1, width=4, heads=1, mlp=4, img_size=12)],
    ids=lambda arch: str(arch.size),
)
def test_timm_loads_the_same_model(tmp_path: Path, arch: Architecture) -> None:
    weights = noise(arch)
    save_checkpoint(tmp_path / "ready", Checkpoint(arch, weights), origin=ORIGIN)
    model = timm.create_model(f"local-dir:{tmp_path / 'ready'}", pretrained=True).eval()
    x = images(arch)
    assert torch.equal(model(x), Checkpoint(arch, weights).model(x))


def test_timm_loads_it_where_the_zoo_is_not_installed(folder: Path) -> None:
    """In a fresh interpreter in which every import of the zoo fails."""
    code = """
import json, sys
for room in ("zoo", "trainers", "registry", "infra", "pipelines"):
    sys.modules[room] = None
import timm, torch
model = timm.create_model("local-dir:" + sys.argv[1], pretrained=True).eval()
x = torch.randn((2, 3, 8, 8), generator=torch.Generator().manual_seed(7))
print(json.dumps(model(x).tolist()))
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, str(folder)], check=True, capture_output=True, text=True, cwd="/"
    )
    assert_close(torch.tensor(json.loads(done.stdout)), Checkpoint(ARCH, noise(ARCH)).model(images(ARCH)))


def test_a_checkpoint_comes_back_bit_by_bit(folder: Path) -> None:
    back, weights = read_checkpoint(folder), noise(ARCH)
    assert back.arch == ARCH
    assert set(back.weights) == set(weights)
    assert all(torch.equal(back.weights[name], tensor) for name, tensor in weights.items())
    assert back.digest == digest_file(folder / WEIGHTS)


def test_a_folder_of_timm_is_read_and_computes_the_same(tmp_path: Path) -> None:
    folder = timm_folder(tmp_path / "timm", img_size=32, num_classes=5)
    checkpoint = read_checkpoint(folder)
    x = images(checkpoint.arch)
    theirs = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    assert torch.equal(checkpoint.model(x), theirs(x))
    assert str(checkpoint.arch.size) == "6x64"


def test_the_parent_of_a_condensed_checkpoint_is_its_digest(folder: Path) -> None:
    checkpoint = read_checkpoint(folder)
    assert condense(checkpoint, Front()).parents == (digest_file(folder / WEIGHTS),)
    assert condense(Checkpoint(ARCH, checkpoint.weights), Front()).parents == ()


def test_the_folder_says_what_it_is(tmp_path: Path) -> None:
    preprocessing = Preprocessing(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    save_checkpoint(tmp_path / "ready", Checkpoint(ARCH, noise(ARCH), preprocessing=preprocessing), origin=ORIGIN)
    card = (tmp_path / "ready" / CARD).read_text()
    assert ORIGIN in card
    assert f"| parameters | {ARCH.parameters():,} |" in card
    config = json.loads((tmp_path / "ready" / CONFIG).read_text())["pretrained_cfg"]
    assert config["input_size"] == [3, 8, 8]
    assert (config["mean"], config["std"]) == ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])
    assert {path.name for path in (tmp_path / "ready").iterdir()} == {CARD, CONFIG, WEIGHTS}
    assert read_checkpoint(tmp_path / "ready").preprocessing == preprocessing


@pytest.mark.parametrize("width", [4, 8, 12])
def test_what_a_learngene_gives_can_be_saved_at_every_width(width: int, tmp_path: Path) -> None:
    learngene = condense(Checkpoint(ARCH, noise(ARCH)), Front())
    model = instantiate(learngene, learngene.size(depth=3, width=width, heads=2))
    save_checkpoint(tmp_path / "ready", model, origin=ORIGIN)
    saved = read_checkpoint(tmp_path / "ready").weights
    assert all(torch.equal(saved[name], tensor) for name, tensor in model.weights.items())


def test_a_learngene_hands_the_preprocessing_of_its_ancestor_to_its_models() -> None:
    preprocessing = Preprocessing(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    learngene = condense(Checkpoint(ARCH, noise(ARCH), preprocessing=preprocessing), Front())
    assert instantiate(learngene, ARCH.size).preprocessing == preprocessing
    assert learngene.manifest.preprocessing == preprocessing


def test_saving_does_not_take_the_weights_away(tmp_path: Path) -> None:
    weights = {name: tensor.requires_grad_() for name, tensor in noise(ARCH).items()}
    save_checkpoint(tmp_path / "ready", Checkpoint(ARCH, weights), origin=ORIGIN)
    assert all(tensor.requires_grad and tensor.grad is None for tensor in weights.values())


@pytest.mark.parametrize(("name", "noun"), [("test_efficientnet", "EfficientNet"), ("test_byobnet", "ByobNet")])
def test_another_architecture_is_refused_by_its_name(tmp_path: Path, name: str, noun: str) -> None:
    with pytest.raises(BadInputError, match=f"a {noun} is of no family of the zoo; legal families: vit"):
        read_checkpoint(timm_folder(tmp_path / "other", name))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"global_pool": "avg"}, "norm.weight is missing.*fc_norm"),
        ({"init_values": 0.1}, r"ls1.gamma is not in the table"),
        ({"qkv_bias": False}, r"attn.qkv.bias is missing, expected \(192,\)"),
        ({"no_embed_class": True}, r"pos_embed is \(1, 4, 64\), expected \(1, 5, 64\)"),
        ({"img_size": (32, 64)}, "images and patches must be square, got images of 32x64"),
        ({"num_classes": 0}, "config.num_classes"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_vit_with_other_tensors_is_refused_by_their_names(
    tmp_path: Path, arguments: dict[str, Any], words: str
) -> None:
    folder = timm_folder(tmp_path / "vit", **{"img_size": 32, **arguments})
    with pytest.raises(BadInputError, match=words):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"act_layer": "gelu_tanh"}, r"the model has '.*GELUTanh\(\)'; family 'vit' has .*GELU\("),
        ({"global_pool": "avg", "fc_norm": False}, "the model has 'avg'; family 'vit' has 'token'"),
    ],
)
def test_a_vit_with_the_same_tensors_but_another_function_is_refused(
    tmp_path: Path, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadInputError, match=words):
        read_checkpoint(timm_folder(tmp_path / "vit", img_size=32, **arguments))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(folder: Path, bad: float) -> None:
    weights = load_file(folder / WEIGHTS)
    weights["blocks.1.norm2.bias"][3] = bad
    save_file(weights, folder / WEIGHTS)
    with pytest.raises(IntegrityError, match=r"tensor 'blocks.1.norm2.bias' holds NaN or infinity"):
        read_checkpoint(folder)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(NotFoundError, match=f"{name}: missing; a checkpoint folder holds {CONFIG} and {WEIGHTS}"):
        read_checkpoint(folder)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"nowhere/config\.json: missing"):
        read_checkpoint(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "content"), [(CONFIG, b"{"), (CONFIG, b"\xff"), (WEIGHTS, b""), (WEIGHTS, b"junk" * 9)]
)
def test_unreadable_files_are_damage(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(IntegrityError, match=str(folder)):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"colour": "red"}, "no field 'architecture' or .*; not a checkpoint of timm"),
        ([], "not a checkpoint of timm"),
        (3, "not a checkpoint of timm"),
        ({"architecture": "no_such_model"}, "timm cannot build this model: .*no_such_model"),
        (
            {"architecture": "test_vit", "pretrained_cfg": {}, "model_args": {"wings": 2}},
            "timm cannot build this model: .*wings",
        ),
    ],
)
def test_a_config_that_timm_cannot_use_is_refused(folder: Path, content: object, words: str) -> None:
    (folder / CONFIG).write_text(json.dumps(content))
    with pytest.raises(BadInputError, match=words):
        read_checkpoint(folder)


def test_weights_that_do_not_fit_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    weights = noise(ARCH)
    del weights["head.bias"]
    with pytest.raises(BadInputError, match=r"head\.bias is missing"):
        save_checkpoint(tmp_path / "ready", Checkpoint(ARCH, weights), origin=ORIGIN)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_may_be_given_as_text(folder: Path) -> None:
    assert read_checkpoint(str(folder)).digest == read_checkpoint(folder).digest
