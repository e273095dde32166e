"""What several processes do to one registry, on SQLite and over REST alike."""

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import registry
from registry.entries import find_entry, list_entries
from registry.history import State
from registry.promote import history, promote, set_alias
from registry.register import register
from registry.server import connect
from zoo.errors import ZooError

MakeLearngene = Callable[..., Path]
PROMOTERS, START_SECONDS = 8, 120


def refs(**question: Any) -> list[str]:
    """The answers to a question, best first."""
    return [found.entry.ref for found in registry.find(**question).found]


def aliases(name: str = "vit") -> dict[str, int]:
    return {alias: entry.version for entry in list_entries(name) for alias in entry.aliases}


def _be_at(home: Path, uri: str | None) -> None:
    """A fork server has the environment of its own start."""
    os.environ["ZOO_HOME"] = str(home)
    os.environ["MLFLOW_TRACKING_URI"] = uri or ""


def _elsewhere(home: Path, uri: str | None, what: str, *args: Any) -> None:
    """What another process does: with our verbs, or with MLflow alone."""
    _be_at(home, uri)
    if what == "register":
        register(*args, metrics={})
    elif what == "set_alias":
        set_alias(*args)
    else:
        with connect() as client:
            getattr(client, what)(*args)


def others_are_seen(home: Path, uri: str | None, make: MakeLearngene, name: str) -> None:
    """Every change by another process shows in the very next answer."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("forkserver")) as other:
        _others_are_seen(lambda *action: other.submit(_elsewhere, home, uri, *action).result(), make, name)


def _others_are_seen(act: Callable[..., None], make: MakeLearngene, name: str) -> None:
    tags = {"of": name}
    for seed in (11, 12):
        register(make(seed), name, metrics={}, tags=tags)
    assert refs(tags=tags, order_by="newest") == [f"{name}:2", f"{name}:1"]
    act("set_alias", name, "champion", 2)
    assert refs(tags=tags, alias="champion") == [f"{name}:2"]
    act("set_alias", name, "champion", 1)
    assert refs(tags=tags, alias="champion") == [f"{name}:1"]
    act("register", make(13), f"{name}.more")
    assert f"{name}.more:1" in refs(order_by="newest")
    act("delete_model_version", name, "2")
    assert refs(tags=tags) == [f"{name}:1"]
    act("set_registered_model_alias", name, "by-hand", "1")  # sets no stamp: the names of an answer are compared
    assert registry.find(tags=tags).found[0].entry.aliases == ("by-hand", "champion")
    act("delete_registered_model", name)
    assert refs(tags=tags) == []


def _promotes(barrier: Barrier, home: Path, uri: str | None, version: int) -> None:
    _be_at(home, uri)
    from registry import promote as module

    real = module.append

    def at_once(*args: Any) -> State:  # all have decided before the first one writes
        barrier.wait(START_SECONDS)
        return real(*args)

    module.append = at_once
    try:
        promote(f"race:{version}")
    except ZooError as error:
        assert "another promotion was faster" in str(error), error
        raise SystemExit(1) from None


def eight_promoters(home: Path, uri: str | None, make: MakeLearngene) -> None:
    """One wins, seven are told, and what the log says is what the aliases say."""
    for seed in range(PROMOTERS):
        register(make(seed), "race", metrics={})
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["registry.promote", "mlflow.store.tracking.sqlalchemy_store"])
    barrier = context.Barrier(PROMOTERS)
    workers = [context.Process(target=_promotes, args=(barrier, home, uri, i + 1)) for i in range(PROMOTERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    codes = [worker.exitcode for worker in workers]
    assert sorted(codes, key=str) == [0] + [1] * (PROMOTERS - 1)
    winner = codes.index(0) + 1
    assert aliases("race") == {"champion": winner}
    assert [(event.record.to, event.outcome) for event in history("race") if event.outcome != "lost"] == [
        (winner, "done")
    ]
    assert find_entry("race").version == winner
