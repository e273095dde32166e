"""What happens when clocks jump, beside garbage (`test_garbage`) and the doctor (`test_doctor`)."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from registry_races import refs

import registry
from registry import mirror
from registry.promote import history, promote, rollback
from registry.register import register
from registry.server import connect

MakeLearngene = Callable[..., Path]
HOUR = 3_600_000  # in MLflow's milliseconds


def shift(home: Path, hours: float) -> None:
    """Let all that the registry holds have happened later, as it looks after the server's clock went back."""
    later = (int(hours * HOUR),)
    with closing(sqlite3.connect(home / "registry.db")) as database, database:
        database.execute("UPDATE registered_models SET last_updated_time = last_updated_time + ?", later)
        database.execute("UPDATE model_versions SET creation_time = creation_time + ?", later)


def test_after_the_servers_clock_went_back_changes_are_seen_by_the_next_sweep(
    ready_home: Path, learngene: MakeLearngene, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        register(learngene(1), name, metrics={})
    shift(ready_home, 1)
    assert sorted(refs()) == ["a:1", "b:1"]
    register(learngene(2), "a", metrics={})  # an hour before what is known
    with connect() as client:
        client.set_registered_model_alias("b", "edge", "1")
    assert [found.entry.aliases for found in registry.find().found if found.entry.name == "b"] == [("edge",)]
    monkeypatch.setattr(mirror, "SWEEP_SECONDS", 0)
    assert sorted(refs()) == ["a:1", "a:2", "b:1"]


@pytest.mark.parametrize("hours", [-1000, 1000])
def test_promotions_have_their_order_whatever_the_dates_say(
    ready_home: Path, learngene: MakeLearngene, hours: float
) -> None:
    for seed in (1, 2):
        register(learngene(seed), "vit", metrics={})
    promote("vit:1")
    shift(ready_home, hours)
    promote("vit:2")
    assert [event.record.to for event in history("vit")] == [1, 2]
    assert rollback("vit").version == 1
