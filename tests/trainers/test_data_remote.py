"""Data behind an address: the same as in a folder, or a clear end."""

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from folder_server import FolderServer, serve
from pico_text import text_spec, write_corpus
from pydantic import ValidationError
from shard_maker import grey, sample, write_folder, write_shard

from trainers.data import remote
from trainers.data.config import WebDataset
from trainers.data.decoded import decoded
from trainers.data.files import part_files
from trainers.data.identity import identity
from trainers.data.index import INDEX
from trainers.data.pack import Packing, write_packed
from trainers.data.text import texts
from zoo.errors import BadInputError, IntegrityError, NotFoundError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(remote, "QUICK", (0.0, 0.0))
    monkeypatch.setattr(remote, "PATIENT", (0.0, 0.0, 0.0))
    return tmp_path / "home"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "source")


@pytest.fixture
def packed(source: Path, tmp_path: Path) -> Path:
    write_packed(source, tmp_path / "packed", Packing(), lambda done, of: None)
    return tmp_path / "packed"


@pytest.fixture
def server(packed: Path) -> Iterator[FolderServer]:
    with serve(packed) as running:
        yield running


def spec(path: object, **fields: object) -> WebDataset:
    return WebDataset.model_validate({"path": str(path), "image_size": 4, "classes": 2, **fields})


def test_shards_behind_an_address_are_the_data_of_the_folder(server: FolderServer, source: Path) -> None:
    assert grey(decoded(spec(server.url), "train").images) == list(range(12))
    assert identity(spec(server.url)) == identity(spec(source))
    assert identity(spec(f"file://{source}")) == identity(spec(source))


def test_the_identity_of_indexed_data_reads_no_shard(server: FolderServer) -> None:
    identity(spec(server.url))
    assert set(server.asked) == {INDEX}


def test_a_shard_is_downloaded_once_for_all_sizes_of_images(server: FolderServer) -> None:
    decoded(spec(server.url), "train")
    decoded(spec(server.url, image_size=8), "train")
    shards = {name: count for name, count in server.asked.items() if name != INDEX}
    assert shards == {"train-0.tar": 1, "train-1.tar": 1, "train-2.tar": 1}


def test_a_cache_of_one_shard_is_enough(server: FolderServer, packed: Path, home: Path) -> None:
    largest = max(path.stat().st_size for path in packed.glob("*.tar"))
    images = decoded(spec(server.url, max_cached_gb=largest / 1e9), "train")
    assert grey(images.images) == list(range(12))
    assert len([path for path in (home / "cache" / "shards").iterdir() if path.name != ".lock"]) == 1


def test_the_limit_leaves_later_shards_where_they_are(server: FolderServer, packed: Path) -> None:
    for number in range(3, 9):
        shutil.copy(packed / "train-0.tar", packed / f"train-{number}.tar")
    content = json.loads((packed / INDEX).read_text())
    content["shards"] += [content["shards"][0] | {"name": f"train-{number}.tar"} for number in range(3, 9)]
    (packed / INDEX).write_text(json.dumps(content))
    assert len(decoded(spec(server.url, limit=2), "train").labels) == 2
    assert not set(server.asked) & {f"train-{number}.tar" for number in range(3, 9)}


def test_text_behind_an_address_is_the_text_of_the_folder(tmp_path: Path) -> None:
    source = write_corpus(tmp_path / "text")
    write_packed(source, tmp_path / "texts", Packing(), lambda done, of: None)
    with serve(tmp_path / "texts") as server:
        there, here = text_spec(source).model_copy(update={"path": server.url}), text_spec(source)
        assert "".join(texts(there, "train")) == "".join(texts(here, "train"))
        assert identity(there) == identity(here)


def test_what_passes_is_tried_again_and_logged(server: FolderServer, caplog: pytest.LogCaptureFixture) -> None:
    server.refuse = {INDEX: [503, 429], "train-1.tar": [500]}
    server.cut["train-0.tar"] = 2
    with caplog.at_level(logging.WARNING):
        assert grey(decoded(spec(server.url), "train").images) == list(range(12))
    assert "train-0.tar: ClientPayloadError" in caplog.text
    assert "train-1.tar" in caplog.text
    assert server.asked["train-0.tar"] == 3


def test_a_server_that_never_answers_is_named_in_the_end(server: FolderServer) -> None:
    server.refuse = {"train-0.tar": [503] * 9}
    with pytest.raises(NotFoundError, match=r"http://127\.0\.0\.1.*/train-0\.tar: .*503.*after 4 attempts"):
        decoded(spec(server.url), "train")
    server.shutdown()
    server.server_close()
    with pytest.raises(NotFoundError, match=r"index\.json: .*after 3 attempts"):
        identity(spec(server.url))


@pytest.mark.parametrize(("status", "message"), [(404, "is not there"), (403, "access refused; credentials")])
def test_a_refusal_is_not_asked_again(server: FolderServer, status: int, message: str) -> None:
    server.refuse = {INDEX: [status]}
    with pytest.raises(NotFoundError, match=message):
        identity(spec(server.url))
    assert server.asked[INDEX] == 1


def test_a_replaced_shard_ends_with_its_name_and_stays_nowhere(server: FolderServer, packed: Path, home: Path) -> None:
    write_shard(packed / "train-1.tar", sample(99))
    with pytest.raises(IntegrityError, match=r"shard train-1\.tar of http://127.* has SHA-256 .*zoo data check"):
        decoded(spec(server.url), "train")
    assert not [*(home / "cache" / "shards").glob("*.part")]
    assert not [path for path in (home / "cache" / "data").iterdir() if path.is_dir()]


def test_a_replaced_shard_in_a_folder_with_an_index_is_refused(packed: Path) -> None:
    write_shard(packed / "train-1.tar", sample(99))
    with pytest.raises(IntegrityError, match=r"shard train-1\.tar of .*packed has SHA-256"):
        decoded(spec(packed), "train")


def test_a_shard_that_the_index_does_not_know_is_not_left_out_in_silence(packed: Path) -> None:
    write_shard(packed / "train-9.tar", sample(99))
    with pytest.raises(IntegrityError, match=r"train-9\.tar is not in index\.json"):
        identity(spec(packed))


def test_an_undecodable_sample_behind_an_address_is_named(source: Path, tmp_path: Path) -> None:
    broken = [("s090.png", b"\x89PNG\r\n\x1a\n"), ("s090.cls", b"0")]
    write_shard(source / "train-1.tar", [*sample(4), *broken])
    write_packed(source, tmp_path / "packed", Packing(), lambda done, of: None)
    with (
        serve(tmp_path / "packed") as server,
        pytest.raises(BadInputError, match=r"shard train-1\.tar, sample 's090'"),
    ):
        decoded(spec(server.url), "train")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"format": 2}, r"format: .*reads 1"),
        ({"extra": 1}, r"extra"),
        ({"shards": [{"name": "../train-0.tar", "samples": 1, "sha256": "0" * 64, "bytes": 1}]}, r"shards\.0\.name"),
        ({"shards": [{"name": "train-0.tar", "samples": 1, "sha256": "0", "bytes": 1}]}, r"shards\.0\.sha256"),
        ({"shards": [{"name": "a", "samples": 1, "sha256": "0" * 64, "bytes": 1}] * 2}, r"a is there 2 times"),
        ({"shards": []}, "shards"),
    ],
)
def test_a_damaged_or_hostile_index_is_refused_by_field(packed: Path, fields: dict[str, object], message: str) -> None:
    content = json.loads((packed / INDEX).read_text())
    (packed / INDEX).write_text(json.dumps(content | fields))
    with pytest.raises(IntegrityError, match=rf"index\.json: .*{message}"):
        identity(spec(packed))


def test_classes_that_are_not_those_of_the_index_are_refused(packed: Path) -> None:
    content = json.loads((packed / INDEX).read_text())
    (packed / INDEX).write_text(json.dumps(content | {"classes": ["cat", "dog", "emu"]}))
    with pytest.raises(BadInputError, match=r"data\.classes: 2, but .*index\.json names 3"):
        identity(spec(packed))


def test_an_address_without_an_index_says_what_writes_one(source: Path) -> None:
    with serve(source) as server, pytest.raises(NotFoundError, match=r"index\.json is not there.*zoo data pack"):
        identity(spec(server.url))


@pytest.mark.parametrize(
    "path", ["https://me:secret@host/x", "https://token@host/x", "https://host/x?key=secret", "simplecache::s3://b/x"]
)
def test_credentials_and_chains_in_an_address_are_refused(path: str) -> None:
    with pytest.raises(ValidationError, match="path"):
        spec(path)


@pytest.mark.parametrize("path", ["pipe://touch trap", "nonsense://x"])
def test_an_unknown_protocol_is_refused_by_name(path: str) -> None:
    with pytest.raises(BadInputError, match=r"data\.path: .*://"):
        part_files(spec(path), "train")
