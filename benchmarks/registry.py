"""The registry with many versions, on SQLite and on PostgreSQL behind an MLflow server that this script starts.

Budget queries (warm, and each after a change by somebody else), `show`, pulls of a 100 MB learngene against the speed
of the hash, many writers at once, and promoters of one name. Everything happens in a temporary folder.

Example: python -m benchmarks.registry --small
"""

import argparse
import hashlib
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import perf_counter

import torch
from numpy.random import default_rng

import registry
from benchmarks.registry_fill import fill
from benchmarks.registry_servers import mlflow_server, postgresql
from benchmarks.rows import SEED, THREADS, Row, at_most, conditions, print_json, print_table, say
from registry.entries import Entry, find_entry, versions
from registry.promote import history, promote
from registry.pull import pull
from registry.register import register
from zoo.api import condense
from zoo.checkpoint import Checkpoint
from zoo.errors import ZooError
from zoo.families import architecture
from zoo.manifest import TENSORS
from zoo.methods.front import Front
from zoo.size import Size

WARM = 50.0, 100.0
"""What half of the budget queries may take, and 95 % of them, in milliseconds."""
LIVE = 250.0, 500.0
"""The same for what reads a name from MLflow: `show`, and a query after somebody wrote."""
HASH = 1.25
"""What a warm pull may take against hashing its file alone."""
CONFIG = {"img_size": 32, "patch_size": 8, "in_chans": 3, "num_classes": 10}


@dataclass(frozen=True)
class Load:
    """How much of everything."""

    versions: int
    queries: int
    width: int  # of the learngene that is pulled, with 8 blocks
    writers: int
    each: int
    promoters: int


FULL = Load(versions=10_000, queries=200, width=512, writers=16, each=50, promoters=8)
SMALL = Load(versions=1_000, queries=40, width=256, writers=4, each=5, promoters=4)


def measure(load: Load, where: tuple[str, ...]) -> list[Row]:
    """The rows of every place."""
    rows: list[Row] = []
    for name in where:
        with TemporaryDirectory() as folder, PLACES[name](Path(folder)) as database:
            rows += _measure(load, name, Path(folder), database)
    return rows


@contextmanager
def _on_sqlite(folder: Path) -> Iterator[str]:
    os.environ["ZOO_HOME"] = str(folder / "home")
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    yield f"sqlite:///{folder / 'home' / 'registry.db'}"


@contextmanager
def _on_postgresql(folder: Path) -> Iterator[str]:
    os.environ["ZOO_HOME"] = str(folder / "home")
    with postgresql() as database, mlflow_server(database, folder) as address:
        os.environ["MLFLOW_TRACKING_URI"] = address
        yield database


PLACES = {"sqlite": _on_sqlite, "postgresql": _on_postgresql}


def _measure(load: Load, where: str, folder: Path, database: str) -> list[Row]:
    like = register(learngene(folder / "like", 0, 96, 6), "like", metrics={}, tags={"recipe": "vit-cifar10"})
    filled = fill(database, like, load.versions, per_name=10)
    say(f"{where}: {filled.versions} versions of {filled.names} names")
    rows = _queries(load, where, like)
    rows += _shows(load, where)
    rows += _pulls(load, where, folder)
    rows += _writers(load, where, folder)
    rows += _promoters(load, where)
    return rows


def _queries(load: Load, where: str, like: Entry) -> list[Row]:
    rng = default_rng(SEED)

    def ask() -> object:
        return registry.find(
            family="vit",
            task="cifar10",
            max_params=int(rng.integers(500_000, 8_000_000)),
            max_flops=int(rng.integers(10**8, 2 * 10**9)),
            limit=20,
        )

    def touched() -> object:
        with_tag = {"recipe": "vit-cifar10", "run": str(rng.random())}
        register(Path(like.uri.removeprefix("file://")), "like", metrics={}, tags=with_tag)
        return None

    cold = _times(1, ask)[0]
    say(f"{where}: the first query, which reads everything, took {cold / 1000:.1f} s")
    warm = _times(load.queries, ask)
    after = _times(load.queries // 4, ask, before=touched)
    return [
        *_quantiles(f"find, {load.versions} versions, {where}", warm, WARM),
        *_quantiles(f"find after a change, {where}", after, LIVE),
    ]


def _shows(load: Load, where: str) -> list[Row]:
    names = [f"filled.{i}:1" for i in range(load.versions // 10)]
    rng = default_rng(SEED)
    return _quantiles(f"show, {where}", _times(load.queries // 2, lambda: find_entry(str(rng.choice(names)))), LIVE)


def _pulls(load: Load, where: str, folder: Path) -> list[Row]:
    source = learngene(folder / "large", 1, load.width, 8)
    register(source, "large", metrics={})
    cold = _times(1, lambda: pull("large:1"))[0]
    megabytes = (source / TENSORS).stat().st_size / 1e6
    say(f"{where}: the first pull of {megabytes:.0f} MB took {cold:.0f} ms")
    turns = [(_times(1, lambda: pull("large:1"))[0], _times(1, lambda: _hash(source / TENSORS))[0]) for _ in range(7)]
    ask = median(_times(7, lambda: find_entry("large:1")))
    mine, theirs = (median(column) for column in zip(*turns, strict=True))
    name = f"warm pull, {megabytes:.0f} MB, less the question, {where}"
    return [at_most(HASH, name=name, ours=mine - ask, baseline=theirs, unit="ms")]


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _writers(load: Load, where: str, folder: Path) -> list[Row]:
    """Each registers learngenes of its own, and one that all register."""
    shared = learngene(folder / "shared", 10**6, 16, 1)
    context = multiprocessing.get_context("forkserver")
    workers = [
        context.Process(target=_write, args=(_place(), folder / f"writer{i}", i * load.each, load.each, shared))
        for i in range(load.writers)
    ]
    begin = perf_counter()
    codes = _run(workers)
    say(f"{where}: {load.writers} x {load.each} registrations took {perf_counter() - begin:.1f} s")
    found = versions("written")
    expected = load.writers * load.each + 1
    wrong = abs(len(found) - expected) + len(found) - len({entry.digest for entry in found}) + sum(map(bool, codes))
    name = f"lost or double of {load.writers} x {load.each}, {where}"
    return [at_most(0.0, name=name, ours=wrong, baseline=1, unit="versions")]


def _write(place: dict[str, str], folder: Path, first: int, count: int, shared: Path) -> None:
    os.environ.update(place)
    torch.set_num_threads(THREADS)
    for seed in range(first, first + count):
        register(learngene(folder / str(seed), 1000 + seed, 16, 1), "written", metrics={"accuracy": seed / 1e6})
    register(shared, "written", metrics={})


def _promoters(load: Load, where: str) -> list[Row]:
    context = multiprocessing.get_context("forkserver")
    barrier = context.Barrier(load.promoters)
    codes = _run([context.Process(target=_promote, args=(_place(), i + 1, barrier)) for i in range(load.promoters)])
    done = [event.record.to for event in history("filled.0") if event.outcome == "done"]
    champion = [entry.version for entry in versions("filled.0") if "champion" in entry.aliases]
    unsound = abs(codes.count(0) - len(done)) + codes.count(1) + (champion != done[-1:])
    say(f"{where}: {load.promoters} promoters at once, {len(done)} after one another, {codes.count(3)} told")
    name = f"promotions that contradict, {load.promoters} at once, {where}"
    return [at_most(0.0, name=name, ours=unsound, baseline=1, unit="promotions")]


def _promote(place: dict[str, str], version: int, barrier: Barrier) -> None:
    os.environ.update(place)
    find_entry("filled.0:1")  # everything is imported
    barrier.wait(600)
    try:
        promote(f"filled.0:{version}")
    except ZooError as error:
        sys.exit(3 if "another promotion was faster" in str(error) else 1)


def _place() -> dict[str, str]:
    """Where the registry is; a fork server has the environment of its own start."""
    return {key: os.environ[key] for key in ("ZOO_HOME", "MLFLOW_TRACKING_URI") if key in os.environ}


def _run(workers: Sequence[BaseProcess]) -> list[int | None]:
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return [worker.exitcode for worker in workers]


def _times(count: int, work: Callable[[], object], before: Callable[[], object] = lambda: None) -> list[float]:
    """Milliseconds of every call, `before` not counted."""
    times: list[float] = []
    for _ in range(count):
        before()
        begin = perf_counter()
        work()
        times.append(1000 * (perf_counter() - begin))
    return times


def _quantiles(name: str, times: list[float], target: tuple[float, float]) -> list[Row]:
    p95 = quantiles(times, n=20)[-1]
    return [
        at_most(1.0, name=f"{name}, p50", ours=median(times), baseline=target[0], unit="ms"),
        at_most(1.0, name=f"{name}, p95", ours=p95, baseline=target[1], unit="ms"),
    ]


def learngene(folder: Path, seed: int, width: int, depth: int) -> Path:
    """A learngene of random weights, in closed form."""
    arch = architecture("vit", CONFIG, Size(depth=depth, width=width, heads=max(1, width // 32)))
    generator = torch.Generator().manual_seed(seed)
    weights = {name: torch.randn(shape, generator=generator) for name, shape in arch.shapes().items()}
    condense(Checkpoint(arch, weights, digest="ab" * 32), Front(keep=1.0)).save(folder)
    return folder


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a tenth of everything, for a machine that is busy")
    parser.add_argument("--on", choices=tuple(PLACES), help="only one of the places")
    parser.add_argument("--json", action="store_true", help="print one list of rows and nothing else on stdout")
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    header = conditions()
    with redirect_stdout(sys.stderr):
        rows = measure(SMALL if options.small else FULL, (options.on,) if options.on else tuple(PLACES))
    print_json(rows) if options.json else print_table(rows, header)
    sys.exit(0 if all(row.ok for row in rows) else 1)


if __name__ == "__main__":
    main()
