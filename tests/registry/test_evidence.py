"""What benches measured stands with the learngene: numbers that search sees, and the report's files."""

from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from registry.register import log_evidence, register
from registry.server import tracking_uri
from zoo.errors import BadInputError

MakeLearngene = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("ready_home")


@pytest.fixture
def report(tmp_path: Path) -> Path:
    folder = tmp_path / "report"
    (folder / "ready").mkdir(parents=True)
    (folder / "RESULTS.md").write_text("# pico\n", encoding="utf-8")
    return folder


def test_numbers_and_files_stand_with_the_entry(learngene: MakeLearngene, report: Path) -> None:
    entry = register(learngene(), "pico", metrics={"accuracy": 0.5})
    again = log_evidence(entry, {"bench/b/front/1x8/score": 0.6}, report, "bench/b")
    assert again.metrics == {**entry.metrics, "bench/b/front/1x8/score": 0.6}
    client = MlflowClient(tracking_uri())
    version = client.get_model_version("pico", "1")
    assert version.run_id
    assert [file.path for file in client.list_artifacts(version.run_id, "bench/b")] == ["bench/b/RESULTS.md"]


def test_a_second_bench_replaces_its_own_numbers_only(learngene: MakeLearngene, report: Path) -> None:
    entry = register(learngene(), "pico", metrics={})
    log_evidence(entry, {"bench/a/front/1x8/score": 0.1, "bench/b/front/1x8/score": 0.2}, report, "bench/a")
    later = log_evidence(entry, {"bench/a/front/1x8/score": 0.3}, report, "bench/a")
    assert later.metrics["bench/a/front/1x8/score"] == 0.3
    assert later.metrics["bench/b/front/1x8/score"] == 0.2


def test_no_file_is_left_in_the_working_directory(
    learngene: MakeLearngene, report: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    log_evidence(register(learngene(), "pico", metrics={}), {"bench/b/front/1x8/score": 0.6}, report, "bench/b")
    assert not list(here.iterdir())


def test_a_number_that_is_none_is_refused(learngene: MakeLearngene, report: Path) -> None:
    entry = register(learngene(), "pico", metrics={})
    with pytest.raises(BadInputError, match="nan is not legal"):
        log_evidence(entry, {"bench/b/front/1x8/score": float("nan")}, report, "bench/b")
