"""The bounded cache of a node for shards."""

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Barrier, Event
from typing import BinaryIO

import pytest

from trainers.data.index import Shard
from trainers.data.shard_cache import ShardCache
from zoo.errors import BadInputError, IntegrityError


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "cache" / "shards"


def content(letter: str) -> bytes:
    return letter.encode() * 100


def shard(letter: str) -> Shard:
    digest = hashlib.sha256(content(letter)).hexdigest()
    return Shard(name=f"{letter}.tar", samples=1, sha256=digest, bytes=100)


def writes(letter: str, calls: list[str]) -> Callable[[BinaryIO], None]:
    def download(file: BinaryIO) -> None:
        calls.append(letter)
        file.write(content(letter))

    return download


def use(cache: ShardCache, letters: str, calls: list[str]) -> None:
    for letter in letters:
        with cache.opened(shard(letter), writes(letter, calls)) as path:
            assert path.read_bytes() == content(letter)


def sizes(root: Path) -> int:
    return sum(path.stat().st_size for path in root.iterdir() if path.name != ".lock")


def test_a_shard_is_downloaded_once(root: Path) -> None:
    calls: list[str] = []
    use(ShardCache(1000), "aab", calls)
    use(ShardCache(1000), "ba", calls)
    assert calls == ["a", "b"]
    assert sizes(root) == 200


def test_the_least_recently_used_shard_makes_room(root: Path) -> None:
    calls: list[str] = []
    use(ShardCache(299), "ab", calls)
    use(ShardCache(299), "a", calls)
    use(ShardCache(299), "c", calls)
    assert sizes(root) == 200
    use(ShardCache(299), "a", calls)
    assert calls == ["a", "b", "c"]
    use(ShardCache(299), "b", calls)
    assert calls == ["a", "b", "c", "b"]


def test_a_shard_in_use_stays_whatever_comes(root: Path) -> None:
    calls: list[str] = []
    cache = ShardCache(200)
    with cache.opened(shard("a"), writes("a", calls)) as path:
        use(cache, "bcd", calls)
        assert path.read_bytes() == content("a")
        assert sizes(root) == 200


def test_where_all_is_in_use_the_next_one_waits(root: Path) -> None:
    calls: list[str] = []
    cache = ShardCache(100)
    begun = Event()

    def next_one() -> None:
        begun.set()
        use(cache, "b", calls)

    with ThreadPoolExecutor(1) as threads:
        with cache.opened(shard("a"), writes("a", calls)) as path:
            job = threads.submit(next_one)
            begun.wait()
            assert path.exists()
            assert "b" not in calls
        job.result()
    assert calls == ["a", "b"]
    assert sizes(root) == 100


def test_of_many_at_once_one_downloads_and_the_limit_holds(root: Path) -> None:
    calls: list[str] = []
    cache, start = ShardCache(300), Barrier(6)

    def work(number: int) -> int:
        start.wait()
        use(cache, "abc" if number % 2 else "bca", calls)
        return sizes(root)

    with ThreadPoolExecutor(6) as threads:
        assert [*threads.map(work, range(6))] == [300] * 6
    assert sorted(calls) == ["a", "b", "c"]


WORKER = """
import hashlib, sys
from trainers.data.index import Shard
from trainers.data.shard_cache import ShardCache
log = open(sys.argv[1], "a", buffering=1)
for letter in sys.argv[2] * 5:
    data = letter.encode() * 100
    shard = Shard(name=letter, samples=1, sha256=hashlib.sha256(data).hexdigest(), bytes=100)
    def download(file):
        log.write(letter)
        file.write(data)
    with ShardCache(250).opened(shard, download) as path:
        assert path.read_bytes() == data
"""


def test_processes_share_the_cache_and_none_loses_what_it_reads(root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WORKER, str(tmp_path / "log")]
    jobs = [subprocess.Popen([*command, letters]) for letters in ("abcd", "dcba", "bdac")]
    assert [job.wait() for job in jobs] == [0, 0, 0]
    assert sizes(root) <= 250
    assert not [*root.glob("*.part")]


def test_a_download_that_fails_leaves_nothing(root: Path) -> None:
    def fails(file: BinaryIO) -> None:
        file.write(b"half")
        raise IntegrityError("damaged")

    with pytest.raises(IntegrityError, match="damaged"), ExitStack() as stack:
        stack.enter_context(ShardCache(1000).opened(shard("a"), fails))
    assert [path.name for path in root.iterdir()] == [".lock"]


def test_what_a_killed_download_left_is_taken_over_or_makes_room(root: Path) -> None:
    root.mkdir(parents=True)
    for letter in "ab":
        (root / f"{shard(letter).sha256}.part").write_bytes(b"x" * 100)
    calls: list[str] = []
    use(ShardCache(200), "a", calls)
    use(ShardCache(200), "c", calls)
    assert calls == ["a", "c"]
    assert not [*root.glob("*.part")]
    assert sizes(root) == 200


def test_a_download_in_another_process_counts_and_is_waited_for(root: Path) -> None:
    """Its file has its final size from the start."""
    root.mkdir(parents=True)
    part = root / f"{shard('a').sha256}.part"
    calls: list[str] = []
    with ThreadPoolExecutor(1) as threads, part.open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        os.truncate(part, 100)
        use(ShardCache(200), "bc", calls)
        assert sizes(root) == 200
        job = threads.submit(use, ShardCache(200), "a", calls)
        other.write(content("a"))
        other.flush()
        part.rename(part.with_suffix(""))
    job.result()
    assert calls == ["b", "c"]


def test_a_shard_larger_than_the_limit_is_refused_by_name() -> None:
    with pytest.raises(BadInputError, match=r"data\.max_cached_gb: 5e-08 GB .* a\.tar, 100 bytes"):
        use(ShardCache(50), "a", [])
