"""`zoo instantiate --sizes`: one learngene, many ready models, each made by a task of its own.

A model is a folder below `out` that appears whole or not at all, so a second call makes only what is missing. The
learngene is copied once to every node that makes one. A size that fails does not take the others with it.
"""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal

from pipelines.models.making import Making, Source, keep, make
from pipelines.models.sizes_file import load_sizes
from pipelines.run.sharing import check_shared
from zoo import Learngene, Size
from zoo.errors import BadInputError, IntegrityError, NotFoundError, ZooError
from zoo.families import architecture
from zoo.manifest import verify
from zoo.ready import Ready, read_ready, verify_ready

if TYPE_CHECKING:
    from infra.cluster import Cluster

AT_ONCE = 64
"""Threads that wait for tasks; a cluster that may grow says that it holds any number."""
State = Literal["waiting", "running", "kept", "done", "failed"]


@dataclass
class Row:
    """How one of the models is. `entry` is its reference in the registry, `why` the reason of a failure."""

    name: str
    size: Size
    out: Path
    state: State = "waiting"
    parameters: int = 0
    flops: int = 0
    scores: dict[str, float] = field(default_factory=dict)
    digest: str = ""
    entry: str = ""
    seconds: float = 0.0
    why: str = ""

    def settle(self, ready: Ready, state: State) -> None:
        """The model is there."""
        self.state, self.digest, self.scores = state, ready.digest, ready.scores
        self.parameters, self.flops = ready.parameters, ready.flops

    def fail(self, error: Exception) -> None:
        """It is not, or not where it was to be."""
        self.state, self.why = "failed", str(error)

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return {**self.__dict__, "size": self.size.model_dump(), "out": str(self.out)}


OnChange = Callable[[Row], None]
Shown = Callable[[list[Row]], AbstractContextManager[OnChange]]


def instantiate_sizes(
    ref: str, sizes: Path, how: Making, out: Path, *, address: str, name: str | None, shown: Shown
) -> list[Row]:
    """Make and, under `name`, register the models in the file `sizes`. Ray starts if one is missing.

    Raises `BadInputError` before anything runs for a size that the learngene cannot give; later failures are in rows.
    """
    if name:
        from registry.register import check_name

        check_name(name, ready=True)
    source, how = Source.of(ref), replace(how, data=_everywhere(how.data))
    rows = plan(source, sizes, how, out)
    with shown(rows) as on_change:
        if any(row.state == "waiting" for row in rows):
            from infra.cluster import connect

            with connect(address) as cluster:
                fan_out(source, rows, how, cluster, on_change)
        if name:
            register(rows, name, on_change)
    return rows


def plan(source: Source, path: Path, how: Making, out: Path) -> list[Row]:
    """A row for every model in the file at `path`; those that are there are `kept`. Raises `BadInputError`.

    A model in the way that was made of something else is made anew; anything else in the way is refused.
    """
    manifest = verify(source.folder())
    arch = architecture(manifest.family, manifest.config, manifest.size)
    rows = [Row(name, size, out.absolute() / name) for name, size in load_sizes(path, arch, manifest.legal).items()]
    for row in rows:
        arch_there = arch.at(row.size)
        row.parameters, row.flops = arch_there.parameters(), arch_there.flops()
        try:
            there = verify_ready(row.out)
        except NotFoundError:
            if row.out.exists() and (not row.out.is_dir() or any(row.out.iterdir())):
                raise BadInputError(f"--out: {row.out} holds something else; choose another folder") from None
        except IntegrityError:
            continue  # a damaged one is replaced
        else:
            if there.is_made_of(manifest.digest, row.size, how.options):
                row.settle(there, "kept")
    return rows


def fan_out(source: Source, rows: list[Row], how: Making, cluster: "Cluster", on_change: OnChange) -> None:
    """Make what is missing. Raises nothing for a size that fails: its row says why."""
    waiting = [row for row in rows if row.state == "waiting"]
    if cluster.shared:
        check_shared(waiting[0].out.parent, cluster, "--out")
    with ThreadPoolExecutor(_at_once(cluster, len(waiting))) as pool:
        futures = [pool.submit(_one, source, row, how, cluster, on_change) for row in waiting]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            cluster.stop()
            raise
    for row in waiting:  # what tasks left that were killed, now or in a call before
        for left in row.out.parent.glob(f".{row.name}.*"):
            shutil.rmtree(left, ignore_errors=True)


def register(rows: list[Row], name: str, on_change: OnChange) -> None:
    """Copy what was made into the store and register it under `name`, with the row's name as alias.

    A row that cannot be registered has failed; the others are registered.
    """
    for row in rows:
        if row.state in ("kept", "done"):
            try:
                row.entry = keep(row.out, read_ready(row.out), name, row.name).ref
            except (ZooError, OSError) as error:
                row.fail(error)
            on_change(row)


def _everywhere(data: str | None) -> str | None:
    """The same data, whatever the working directory of a task is."""
    kind, _, path = (data or "").partition(":")
    return f"{kind}:{Path(path).expanduser().absolute()}" if path and "://" not in path else data


def _at_once(cluster: "Cluster", most: int) -> int:
    """How many tasks of one CPU the cluster holds; the others wait, and are not said to run."""
    from infra.resources import ONE_CPU, Demand

    count = 1
    while count < min(most, AT_ONCE) and cluster.fits([Demand(ONE_CPU, count + 1)]):
        count += 1
    return count


def _one(source: Source, row: Row, how: Making, cluster: "Cluster", on_change: OnChange) -> None:
    began = monotonic()
    row.state = "running"
    on_change(row)
    try:
        ready = cluster.run(make_on_node, source, row.size, how, row.out)
        row.settle(ready, "done")
    except (ZooError, RuntimeError) as error:  # the cluster makes a RuntimeError of whatever else went wrong there
        row.fail(error)
    row.seconds = monotonic() - began
    on_change(row)


def make_on_node(source: Source, size: Size, how: Making, out: Path) -> Ready:
    """What a task does: the learngene from the cache of its node, a ready model in `out`."""
    return make(source, Learngene.load(source.folder()), size, how, out)
