"""Compares what lies in a place with its index: every shard is read whole and every sample is decoded."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

from trainers.data.contents import contents
from trainers.data.index import INDEX, SHARD_ENDINGS, Index, Shard
from trainers.data.places import Place, needed_index, place_of
from trainers.data.remote import AwayError
from zoo.errors import IntegrityError, NotFoundError
from zoo.files import digest_file

State = Literal["ok", "missing", "extra", "wrong size", "wrong hash", "wrong count", "undecodable"]
OnChecked = Callable[[int, int], None]  # shards done, of how many


@dataclass(frozen=True)
class ShardState:
    """What is wrong with a shard, if anything: the gravest state, and all problems in words."""

    name: str
    state: State
    samples: int
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checked:
    """What a check found. `listed`: whether the place could be searched for files that the index does not know."""

    path: str
    shards: tuple[ShardState, ...]
    listed: bool

    @property
    def wrong(self) -> list[ShardState]:
        """The shards that are not as the index says."""
        return [shard for shard in self.shards if shard.state != "ok"]

    def refuse_wrong(self) -> None:
        """Raise `IntegrityError` if any shard is not as the index says."""
        if self.wrong:
            first = self.wrong[0]
            raise IntegrityError(
                f"{self.path}: {len(self.wrong)} of {len(self.shards)} shards are wrong; "
                f"the first: {first.name}, {first.state}: {first.problems[0]}"
            )

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return {"ok": not self.wrong, "samples": sum(shard.samples for shard in self.shards)} | asdict(self)


def check_data(path: str, report: OnChecked) -> Checked:
    """Check the data at a path or an address against their index, past all caches.

    Raises:
        NotFoundError: there is no such place, no index in it, or it does not answer.
        IntegrityError: the index itself is damaged.
    """
    place = place_of(path)
    index = needed_index(place)
    states: list[ShardState] = []
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for state in threads.map(partial(_checked, place, index), index.shards):
            states.append(state)
            report(len(states), len(index.shards))
    names = place.names()
    return Checked(path, (*states, *_extra(index, names or [])), listed=names is not None)


def _checked(place: Place, index: Index, shard: Shard) -> ShardState:
    try:
        with place.fetched(shard.name) as path:
            found = contents(path, shard.name, len(index.classes) if index.classes else None)
            wrong: list[tuple[State, str]] = [
                *_differences(shard, path.stat().st_size, digest_file(path), found.samples)
            ]
    except AwayError:
        raise  # nothing is known about the shard
    except NotFoundError as error:
        return ShardState(shard.name, "missing", 0, (str(error),))
    wrong += [("undecodable", problem) for problem in found.problems]
    return ShardState(shard.name, wrong[0][0] if wrong else "ok", found.samples, tuple(problem for _, problem in wrong))


def _differences(shard: Shard, size: int, digest: str, samples: int) -> Iterator[tuple[State, str]]:
    if size != shard.bytes:
        yield "wrong size", f"{size} bytes, the index says {shard.bytes}"
    if digest != shard.sha256:
        yield "wrong hash", f"SHA-256 {digest}, the index says {shard.sha256}"
    if samples != shard.samples:
        yield "wrong count", f"{samples} samples, the index says {shard.samples}"


def _extra(index: Index, names: list[str]) -> list[ShardState]:
    """Shards that nobody entered; other files may lie beside them."""
    endings = (*SHARD_ENDINGS, ".txt")
    known = {shard.name for shard in index.shards}
    found = sorted(name for name in names if name.endswith(endings) and name not in known)
    return [ShardState(name, "extra", 0, (f"not in {INDEX}",)) for name in found]
