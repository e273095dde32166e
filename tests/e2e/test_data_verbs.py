"""`zoo data` from the command line: pack, check, and a recipe on an address."""

from pathlib import Path

import numpy as np
from command_line import Zoo
from PIL import Image


def write_images(folder: Path) -> Path:
    """Two classes, black and white, 12 training images and 4 test images."""
    for part, count in (("train", 12), ("test", 4)):
        for number in range(count):
            path = folder / part / ("black", "white")[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((4, 4, 3), 255 * (number % 2), np.uint8)).save(path)
    return folder


def test_pack_and_check_answer_in_words_and_in_json(zoo: Zoo, tmp_path: Path) -> None:
    source, out = write_images(tmp_path / "images"), tmp_path / "shards"
    packed = zoo("data", "pack", source, "--out", out, "--json").json
    assert packed["samples"] == 16
    assert packed["classes"] == ["black", "white"]
    assert zoo("data", "check", out, "--json").json["ok"]
    table = zoo("data", "check", out)
    assert (table.code, "2 ok" in table.out) == (0, True)


def test_exit_codes_say_what_is_wrong(zoo: Zoo, tmp_path: Path) -> None:
    source, out = write_images(tmp_path / "images"), tmp_path / "shards"
    zoo("data", "pack", source, "--out", out)
    assert zoo("data", "pack", source, "--out", out).code == 2
    assert zoo("data", "check", tmp_path / "nowhere").code == 3
    assert zoo("data", "check", source).code == 3
    shard = out / "train-000000.tar"
    shard.write_bytes(shard.read_bytes()[:2000])
    damaged = zoo("data", "check", out, "--json")
    assert damaged.code == 4
    assert '"state": "wrong size"' in damaged.out
    assert "train-000000.tar" in damaged.err
    assert "train-000000.tar" in zoo("data", "check", out).out


RECIPE = """
name: x
family: vit
config: {img_size: 4, patch_size: 2, in_chans: 3, num_classes: 2}
data: {kind: webdataset, path: "https://me:secret@host/x", image_size: 4, classes: 2}
stages: {a: {run: pretrain, size: {depth: 1, width: 8, heads: 1}, train: {steps: 1, batch: 2}}}
"""


def test_credentials_in_an_address_are_refused_and_not_repeated(zoo: Zoo, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    for arguments in (("plan", tmp_path / "recipe.yaml"), ("data", "check", "https://me:secret@host/x")):
        answer = zoo(*arguments)
        assert answer.code == 2
        assert "credentials come from the environment" in answer.err
        assert "secret" not in answer.out + answer.err
