"""What a recipe says about data, and the identity of the data."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError
from shard_maker import sample, write_folder, write_shard

from trainers.data.config import Augment, Data, Digits, WebDataset
from trainers.data.files import part_files
from trainers.data.identity import identity
from zoo.errors import BadInputError, NotFoundError


class _Recipe(BaseModel):
    data: Data


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "data")


def spec(path: Path, **fields: object) -> WebDataset:
    return WebDataset.model_validate({"path": str(path), "image_size": 4, "classes": 2, **fields})


def test_the_kind_chooses_the_fields_and_the_default_augmentation() -> None:
    digits = _Recipe.model_validate({"data": {"kind": "digits"}}).data
    images = _Recipe.model_validate({"data": {"kind": "webdataset", "path": "x", "image_size": 32, "classes": 10}}).data
    assert isinstance(digits, Digits)
    assert digits.augment == Augment(crop=1, flip=False)
    assert isinstance(images, WebDataset)
    assert images.augment == Augment(crop=4, flip=True)


@pytest.mark.parametrize(
    ("field", "value"),
    [("batch", 3), ("image_size", 0), ("channels", 2), ("max_bad", 1.0), ("limit", 0), ("validation", 0.6)],
)
def test_unknown_fields_and_illegal_values_are_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        spec(Path("x"), **{field: value})


def test_identity_does_not_depend_on_the_path(folder: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(folder, tmp_path / "elsewhere")
    assert identity(spec(folder)) == identity(spec(copied))


def test_identity_depends_on_every_byte(folder: Path) -> None:
    before = identity(spec(folder))
    shard = folder / "train-1.tar"
    data = bytearray(shard.read_bytes())
    data[600] ^= 1
    shard.write_bytes(data)
    assert identity(spec(folder)) != before


@pytest.mark.parametrize(
    "fields",
    [
        {"image_size": 8},
        {"channels": 1},
        {"limit": 5},
        {"validation": 0.2},
        {"classes": 3},
        {"augment": {"flip": False}},
        {"train": "train-[01].tar"},
    ],
)
def test_identity_depends_on_what_changes_samples(folder: Path, fields: dict[str, object]) -> None:
    assert identity(spec(folder, **fields)) != identity(spec(folder))


def test_identity_does_not_depend_on_what_can_only_refuse(folder: Path) -> None:
    assert identity(spec(folder, max_bad=0.5, max_decoded_gb=1)) == identity(spec(folder))


def test_identity_of_digits_is_plain_json_and_depends_on_the_limit() -> None:
    assert json.loads(json.dumps(identity(Digits()))) == identity(Digits())
    assert identity(Digits(limit=5)) != identity(Digits())


def test_digests_of_old_files_come_from_the_cache(folder: Path, home: Path) -> None:
    for shard in folder.iterdir():
        os.utime(shard, (1_000_000, 1_000_000))
    identity(spec(folder))
    (cache,) = [path for path in (home / "cache" / "digests").iterdir() if "train-0.tar" in path.read_text()]
    known = json.loads(cache.read_text())
    known["train-0.tar"]["digest"] = "from the cache"
    cache.write_text(json.dumps(known))
    assert identity(spec(folder))["shards"]["train"]["train-0.tar"] == "from the cache"


def test_a_file_of_this_very_moment_is_not_cached(folder: Path, home: Path) -> None:
    """Within one tick of the clock it may change again, with the same size and time."""
    soon = time.time() + 60  # however slow this machine is
    for shard in folder.iterdir():
        os.utime(shard, (soon, soon))
    identity(spec(folder))
    assert not any("train-0.tar" in path.read_text() for path in (home / "cache").rglob("*.json"))


def test_a_missing_folder_is_named_with_its_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFoundError, match=r"data\.path.*nowhere") as caught:
        identity(spec(Path("nowhere")))
    assert str(tmp_path / "nowhere") in str(caught.value)


def test_a_folder_without_matching_shards_says_what_is_there(folder: Path) -> None:
    with pytest.raises(BadInputError, match=r"data\.train.*'val-\*'.*train-0\.tar"):
        identity(spec(folder, train="val-*"))


def test_a_matching_file_that_is_no_shard_is_refused(folder: Path) -> None:
    (folder / "train-0.tar.idx").write_text("x")
    with pytest.raises(BadInputError, match=r"train-0\.tar\.idx.*\.tar\.gz"):
        part_files(spec(folder), "train")


def test_a_shard_cannot_be_training_and_test_data(folder: Path) -> None:
    with pytest.raises(BadInputError, match=r"test-0\.tar\.gz is also training data"):
        identity(spec(folder, train="*"))
    shutil.copy(folder / "train-0.tar", folder / "test-1.tar")
    with pytest.raises(BadInputError, match=r"test-1\.tar is also training data \(train-0\.tar\)"):
        identity(spec(folder))


def test_shards_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("train-2.tar", "train-10.tar", "train-1.tar"):
        write_shard(tmp_path / name, sample(0))
    assert [file.name for file in part_files(spec(tmp_path), "train").opened()] == [
        "train-1.tar",
        "train-10.tar",
        "train-2.tar",
    ]
