"""The artifact store: a stage is finished when its record is there, and results are verified when used."""

from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from pipelines.artifacts.store import Store
from pipelines.artifacts.workspace import WorkSpaces
from zoo.errors import IntegrityError

DESCRIPTION = {"function": "condense/1", "config": {"keep": 0.5}, "inputs": {"weights": "abc"}}
KEY = "0" * 64


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def commit(store: Store, text: str = "result") -> None:
    with store.lease(KEY, lambda _: None, lambda: False) as place:
        assert place
        (place.work / "output").mkdir(parents=True)
        (place.work / "output/a.txt").write_text(text, encoding="utf-8")
        (place.work / "metrics.jsonl").write_text("", encoding="utf-8")
        (place.work / "checkpoints").mkdir()
        store.commit(place, "front", DESCRIPTION, {"loss": 1.0}, 2.0)


def test_committed_work_becomes_a_result_and_the_rest_of_it_goes(store: Store) -> None:
    assert store.record(KEY) is None
    commit(store)
    record = store.record(KEY)
    assert record is not None
    assert (record.config, record.scores) == (DESCRIPTION["config"], {"loss": 1.0})
    assert (store.verified(KEY) / "a.txt").read_text(encoding="utf-8") == "result"
    assert sorted(path.name for path in store.output(KEY).parent.iterdir()) == [
        "metrics.jsonl",
        "output",
        "record.json",
    ]
    assert not list((store.root / "work").iterdir())


def test_without_its_record_a_stage_is_not_done_and_can_be_committed_again(store: Store) -> None:
    commit(store)
    folder = store.output(KEY).parent
    (folder / "record.json").unlink()
    assert store.record(KEY) is None
    commit(store, "other")
    assert (store.verified(KEY) / "a.txt").read_text(encoding="utf-8") == "other"
    assert [path.name for path in folder.parent.iterdir()] == [KEY]


def test_a_finished_stage_is_nobodys_to_work_on_and_what_is_left_of_the_work_goes(store: Store) -> None:
    commit(store)
    (store.root / "work" / KEY / "1/checkpoints").mkdir(parents=True)  # by a run that was cut off
    with store.lease(KEY, lambda _: None, lambda: False) as place:
        assert place is None
    assert not list((store.root / "work").iterdir())


def test_work_goes_on_from_the_newest_checkpoint_and_the_first_worker_cannot_touch_it(store: Store) -> None:
    def work() -> Path:
        with store.lease(KEY, lambda _: None, lambda: False) as place:
            assert place
            return place.work

    first = work()
    for step in ("step-1", "step-2", ".step-3"):
        (first / "checkpoints" / step).mkdir(parents=True)
        (first / "checkpoints" / step / "state").write_text(step, encoding="utf-8")
    for name in ("metrics.jsonl", "progress.json"):
        (first / name).write_text('{"step": 2}', encoding="utf-8")
    second = work()
    assert not first.exists()
    found = {str(path.relative_to(second)) for path in second.rglob("*") if path.is_file()}
    assert found == {"checkpoints/step-2/state", "metrics.jsonl", "progress.json"}
    assert store.progress(KEY) == {"step": 2}


@pytest.mark.parametrize("change", ["flip", "add", "remove"])
def test_changed_results_are_refused(store: Store, change: str) -> None:
    commit(store)
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
    commit(store)
    (store.output(KEY).parent / "record.json").write_text("{}", encoding="utf-8")
    with pytest.raises(IntegrityError, match="not a record"):
        store.record(KEY)


def test_the_progress_of_a_stage_that_has_not_begun_is_empty(store: Store) -> None:
    assert store.progress("1" * 64) == {}


def test_who_waits_for_another_run_can_be_stopped(tmp_path: Path) -> None:
    store, waits, stop = Store(tmp_path), Event(), Event()

    def wait() -> None:
        with store.lease(KEY, lambda _: waits.set(), stop.is_set):
            pass

    with store.lease(KEY, lambda _: None, stop.is_set), ThreadPoolExecutor() as pool:
        future = pool.submit(wait)
        assert waits.wait(timeout=10)
        stop.set()
        with pytest.raises(CancelledError):
            future.result(timeout=10)


def test_a_run_that_let_go_of_its_stage_leaves_its_checkpoints_to_the_next(store: Store) -> None:
    with pytest.raises(RuntimeError), store.lease(KEY, lambda _: None, lambda: False) as place:
        assert place
        (place.work / "checkpoints/step-1").mkdir(parents=True)
        place.lease.release()  # as an interrupt does, while the stage still runs
        raise RuntimeError
    with store.lease(KEY, lambda _: None, lambda: False) as place:
        assert place
        assert (place.work / "checkpoints/step-1").is_dir()


def test_what_a_file_system_keeps_beside_leases_is_none(store: Store) -> None:
    folder = store.root / "leases" / KEY
    folder.mkdir(parents=True)
    (folder / ".nfs000000000001").touch()
    commit(store)
    assert store.record(KEY)


def test_a_folder_of_a_later_lease_is_left_alone(tmp_path: Path) -> None:
    spaces = WorkSpaces(tmp_path)
    assert spaces.open(1)
    assert (later := spaces.open(3))
    assert (late := spaces.open(2))
    assert later.is_dir()
    assert late.is_dir()
    assert not (tmp_path / "1").exists()
