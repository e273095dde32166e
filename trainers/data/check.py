"""Compares what lies in a place with its index: every shard is read whole and every sample is decoded."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

from trainers.data.contents import Contents, contents
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
            size, digest = path.stat().st_size, digest_file(path)
    except AwayError:
        raise  # nothing is known about the shard
    except NotFoundError as error:
        return ShardState(shard.name, "missing", 0, (str(error),))
    wrong = list(_differences(shard, size, digest, found))
    return ShardState(shard.name, wrong[0][0] if wrong else "ok", found.samples, tuple(problem for _, problem in wrong))


def _differences(shard: Shard, size: int, digest: str, found: Contents) -> Iterator[tuple[State, str]]:
    if size != shard.bytes:
        yield "wrong size", f"{size} bytes, the index says {shard.bytes}"
    if digest != shard.sha256:
        yield "wrong hash", f"SHA-256 {digest}, the index says {shard.sha256}"
    if found.samples != shard.samples:
        yield "wrong count", f"{found.samples} samples, the index says {shard.samples}"
    for problem in found.problems:
        yield "undecodable", problem


def _extra(index: Index, names: list[str]) -> list[ShardState]:
    """Files of the kind of the shards that nobody entered; anything else may lie beside them."""
    known = {shard.name for shard in index.shards}
    tars = next(iter(known)).endswith(SHARD_ENDINGS)
    found = [name for name in sorted({*names} - known) if name.endswith(SHARD_ENDINGS if tars else ".txt")]
    return [ShardState(name, "extra", 0, (f"not in {INDEX}",)) for name in found]
