"""What was answered once is right while nobody writes to the SQLite file, and for no moment longer."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from registry.entries import Entry, find_entry
from registry.promote import set_alias
from registry.register import register
from registry.server import connect
from registry.unchanged import keep, recall

MakeLearngene = Callable[..., Path]
QUESTION = {"pico.front": {"stage": "front", "scores": [0.5]}}


@pytest.fixture
def entry(ready_home: Path, learngene: MakeLearngene) -> Entry:
    entry = register(learngene(), "vit", metrics={"accuracy": 0.5}, tags={"team": "edge"})
    keep(QUESTION, [entry])
    return entry


def test_an_answer_is_kept_for_its_own_question(entry: Entry) -> None:
    other = {"pico.front": {"stage": "front", "scores": [0.25]}}
    assert (recall(QUESTION), recall(other)) == ([entry], None)
    keep(other, [])
    assert (recall(QUESTION), recall(other)) == ([entry], [])


def test_any_write_ends_it_also_one_past_us(entry: Entry) -> None:
    with connect() as client:
        client.set_registered_model_alias("vit", "mine", "1")
    assert recall(QUESTION) is None
    keep(QUESTION, [find_entry("vit")])
    assert recall(QUESTION) == [find_entry("vit@mine")]


def test_an_answer_that_is_old_when_it_comes_is_not_kept(entry: Entry) -> None:
    set_alias("vit", "champion", 1)
    keep(QUESTION, [entry])
    assert recall(QUESTION) is None


def test_a_restored_backup_that_has_counted_as_far_is_another_file(entry: Entry, ready_home: Path) -> None:
    backup = ready_home / "backup.db"
    shutil.copy(ready_home / "registry.db", backup)
    shutil.copy(backup, ready_home / "registry.db")
    assert recall(QUESTION) is None


def test_what_was_kept_and_cannot_be_read_counts_as_not_there(entry: Entry, ready_home: Path) -> None:
    (path,) = (ready_home / "cache/registry").glob("unchanged-*.json")
    path.write_text('{"state": 1}', encoding="utf-8")
    assert recall(QUESTION) is None
    keep(QUESTION, [entry])
    assert recall(QUESTION) == [entry]


def test_a_server_is_always_asked(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    keep(QUESTION, [entry])
    assert recall(QUESTION) is None
