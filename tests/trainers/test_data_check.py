"""`check_data` finds whatever is not as the index says, and says what it is."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from folder_server import serve
from shard_maker import sample, write_folder, write_shard

from trainers.data import remote
from trainers.data.check import Checked, check_data
from trainers.data.index import INDEX
from trainers.data.pack import Packing, write_packed
from zoo.errors import IntegrityError, NotFoundError
from zoo.files import digest_file


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(remote, "QUICK", (0.0,))
    monkeypatch.setattr(remote, "PATIENT", (0.0,))
    return tmp_path / "home"


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    write_packed(write_folder(tmp_path / "source"), tmp_path / "packed", Packing(), lambda done, of: None)
    return tmp_path / "packed"


def check(path: object) -> Checked:
    return check_data(str(path), lambda done, of: None)


def enter(folder: Path, name: str, **fields: object) -> None:
    """Change what the index says of a shard."""
    content = json.loads((folder / INDEX).read_text())
    (shard,) = [shard for shard in content["shards"] if shard["name"] == name]
    shard.update(fields)
    (folder / INDEX).write_text(json.dumps(content))


def test_whole_data_are_ok_in_a_folder_and_behind_an_address(packed: Path) -> None:
    (packed / "classes.txt").touch()  # hides nothing, breaks nothing
    with serve(packed) as server:
        for checked in (check(packed), check(server.url), check(f"file://{packed}")):
            assert [shard.state for shard in checked.shards] == ["ok"] * 4
            assert sum(shard.samples for shard in checked.shards) == 14
            checked.refuse_wrong()


def missing(folder: Path) -> None:
    (folder / "train-1.tar").unlink()


def missized(folder: Path) -> None:
    enter(folder, "train-1.tar", bytes=5)


def changed(folder: Path) -> None:
    shard = folder / "train-1.tar"
    shard.write_bytes(shard.read_bytes().replace(b"s005", b"s095"))


def miscounted(folder: Path) -> None:
    enter(folder, "train-1.tar", samples=5)


def undecodable(folder: Path) -> None:
    shard = write_shard(folder / "train-1.tar", [*sample(4), ("s090.png", b"\x89PNG"), ("s090.cls", b"0")])
    enter(folder, "train-1.tar", samples=2, sha256=digest_file(shard), bytes=shard.stat().st_size)


def unlabelled(folder: Path) -> None:
    shard = write_shard(folder / "train-1.tar", [*sample(4), sample(5)[0]])
    enter(folder, "train-1.tar", samples=2, sha256=digest_file(shard), bytes=shard.stat().st_size)


def cut(folder: Path) -> None:
    shard = folder / "train-1.tar"
    data = shard.read_bytes()
    shard.write_bytes(data[: data.index(b"s005.png")])
    enter(folder, "train-1.tar", samples=1, sha256=digest_file(shard), bytes=shard.stat().st_size)


@pytest.mark.parametrize(
    ("spoil", "state", "problem"),
    [
        (missing, "missing", "is not there"),
        (missized, "wrong size", "bytes, the index says 5"),
        (changed, "wrong hash", "the index says"),
        (miscounted, "wrong count", "4 samples, the index says 5"),
        (undecodable, "undecodable", "shard train-1.tar, sample 's090': the image cannot be decoded"),
        (unlabelled, "undecodable", "sample 's005': a sample is one image"),
        (cut, "undecodable", "is damaged after sample 's004'"),
    ],
)
@pytest.mark.parametrize("served", [False, True])
def test_what_is_wrong_with_a_shard_is_found_and_named(
    packed: Path, spoil: Callable[[Path], None], state: str, problem: str, served: bool
) -> None:
    spoil(packed)
    with serve(packed) as server:
        checked = check(server.url if served else packed)
    (wrong,) = checked.wrong
    assert (wrong.name, wrong.state) == ("train-1.tar", state)
    assert problem in wrong.problems[0]
    with pytest.raises(IntegrityError, match=rf"1 of 4 shards .*train-1\.tar, {state}"):
        checked.refuse_wrong()


def test_a_shard_that_nobody_entered_is_extra_where_there_is_a_listing(packed: Path) -> None:
    write_shard(packed / "train-9.tar", sample(9))
    assert [(shard.name, shard.state) for shard in check(packed).wrong] == [("train-9.tar", "extra")]
    with serve(packed) as server:
        checked = check(server.url)
    assert not checked.wrong
    assert not checked.listed


def test_a_check_reads_what_is_there_and_not_the_cache(packed: Path, home: Path) -> None:
    with serve(packed) as server:
        assert not check(server.url).wrong
        changed(packed)
        assert check(server.url).wrong
    assert not [path for path in home.rglob("*") if path.is_file()]


def test_a_line_of_text_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    source = tmp_path / "text"
    source.mkdir()
    for part in ("train", "test"):
        (source / f"{part}.txt").write_text("a\nb\n")
    write_packed(source, tmp_path / "packed", Packing(), lambda done, of: None)
    assert sum(shard.samples for shard in check(tmp_path / "packed").shards) == 4
    (tmp_path / "packed" / "train-000000.txt").write_bytes(b"a\n\xff\n")
    (wrong,) = check(tmp_path / "packed").wrong
    assert "train-000000.txt, line 2: not UTF-8" in wrong.problems[-1]


def test_a_server_that_does_not_answer_makes_no_shard_wrong(packed: Path) -> None:
    with serve(packed) as server:
        server.refuse = {"train-1.tar": [503, 503]}
        with pytest.raises(NotFoundError, match="after 2 attempts"):
            check(server.url)


def test_a_folder_without_an_index_says_what_writes_one(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"index\.json is not there; `zoo data pack`"):
        check(write_folder(tmp_path / "bare"))
