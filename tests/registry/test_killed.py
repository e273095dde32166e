"""Real kills while a learngene is built and registered: nothing or a whole version is visible, a rerun completes it."""

import multiprocessing
from pathlib import Path

import pytest
from kills import gene, kill_at, work

from registry.entries import find_entry, list_entries
from registry.server import connect
from registry.verify import verify_all
from zoo.errors import NotFoundError
from zoo.learngene import check

KILLS = 8


def test_killed_at_any_step_nothing_or_a_whole_version_is_visible_and_the_next_run_completes_it(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warm = multiprocessing.get_context("spawn").Process(target=kill_at, args=(tmp_path, database, KILLS))
    warm.start()
    warm.join()
    assert warm.exitcode == 0
    homes = sorted((home for home in tmp_path.iterdir() if home.name.isdigit()), key=lambda home: int(home.name))
    assert len(homes) == KILLS
    seen = []
    for home in homes:
        monkeypatch.setenv("ZOO_HOME", str(home))
        seen.append(_state(home / "gene"))
        work(home / "gene")
        assert _state(home / "gene") == "champion"
        with connect() as client:
            (run,) = client.search_runs(["0", "1"])
            (model,) = client.search_logged_models(["0", "1"])
        assert (run.info.status, str(model.status)) == ("FINISHED", "READY")
    order = ["nothing", "saved", "registered", "champion"]
    assert seen == sorted(seen, key=order.index)
    assert set(seen) == set(order)


def _state(folder: Path) -> str:
    """How far the dead process came; whatever is visible is whole."""
    digest = gene().digest
    try:
        assert check(folder).digest == digest
    except NotFoundError:
        assert list_entries() == []
        return "nothing"
    entries = list_entries()
    if not entries:
        return "saved"
    assert [(entry.ref, entry.metrics["accuracy"], entry.digest) for entry in entries] == [("vit:1", 0.5, digest)]
    assert [row.state for row in verify_all(lambda _done, _total: None)] == ["holds"]
    return "champion" if find_entry("vit").aliases == ("champion",) else "registered"
