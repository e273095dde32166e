"""The artifact store: a stage is finished when its record is there, and results are verified when used."""

from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from pipelines.store import Store
from zoo.errors import IntegrityError

DESCRIPTION = {"function": "condense/1", "config": {"keep": 0.5}, "inputs": {"weights": "abc"}}
KEY = "0" * 64


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    output = store.work(KEY) / "output"
    output.mkdir(parents=True)
    (output / "a.txt").write_text("result", encoding="utf-8")
    (store.work(KEY) / "metrics.jsonl").write_text("", encoding="utf-8")
    (store.work(KEY) / "checkpoints").mkdir()
    return store


def test_committed_work_becomes_a_result_and_the_rest_of_it_goes(store: Store) -> None:
    assert store.record(KEY) is None
    store.commit(KEY, "front", DESCRIPTION, {"loss": 1.0}, 2.0)
    record = store.record(KEY)
    assert record is not None
    assert (record.config, record.scores) == (DESCRIPTION["config"], {"loss": 1.0})
    assert (store.verified(KEY) / "a.txt").read_text(encoding="utf-8") == "result"
    assert not store.work(KEY).exists()


def test_without_its_record_a_stage_is_not_done_and_can_be_committed_again(store: Store) -> None:
    store.commit(KEY, "front", DESCRIPTION, {}, 0.0)
    folder = store.output(KEY).parent
    (folder / "record.json").unlink()
    assert store.record(KEY) is None
    (store.work(KEY) / "output").mkdir(parents=True)
    store.commit(KEY, "front", DESCRIPTION, {}, 0.0)
    assert not list(store.verified(KEY).iterdir())
    assert [path.name for path in folder.parent.iterdir()] == [KEY]


@pytest.mark.parametrize("change", ["flip", "add", "remove"])
def test_changed_results_are_refused(store: Store, change: str) -> None:
    store.commit(KEY, "front", DESCRIPTION, {}, 0.0)
    path = store.output(KEY) / "a.txt"
    if change == "flip":
        path.write_text("resulT", encoding="utf-8")
    elif change == "add":
        path.with_name("b.txt").touch()
    else:
        path.unlink()
    with pytest.raises(IntegrityError, match="not those of record"):
        store.verified(KEY)


def test_a_broken_record_is_refused(store: Store) -> None:
    store.commit(KEY, "front", DESCRIPTION, {}, 0.0)
    (store.output(KEY).parent / "record.json").write_text("{}", encoding="utf-8")
    with pytest.raises(IntegrityError, match="not a record"):
        store.record(KEY)


def test_the_progress_of_a_stage_that_has_not_begun_is_empty(store: Store) -> None:
    assert store.progress("1" * 64) == {}


def test_who_waits_for_another_run_can_be_stopped(tmp_path: Path) -> None:
    store, waits, stop = Store(tmp_path), Event(), Event()

    def wait() -> None:
        with store.lock("key", waits.set, stop.is_set):
            pass

    with store.lock("key", waits.set, stop.is_set), ThreadPoolExecutor() as pool:
        future = pool.submit(wait)
        assert waits.wait(timeout=10)
        stop.set()
        with pytest.raises(CancelledError):
            future.result(timeout=10)
