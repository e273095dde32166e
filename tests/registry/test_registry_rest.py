"""The same promises over REST, with a real `mlflow server`."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow_server import mlflow_server
from registry_races import eight_promoters, others_are_seen

from registry.entries import find_entry, list_entries
from registry.promote import set_alias
from registry.pull import pull
from registry.register import log_evidence, log_training, register
from registry.server import connect
from registry.shelf import EXPERIMENT
from zoo.errors import NotFoundError

MakeLearngene = Callable[..., Path]


@pytest.fixture(scope="module")
def address(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server on the loopback with an empty SQLite file behind it."""
    with mlflow_server(tmp_path_factory.mktemp("server"), database) as address:
        yield address


def _scenario(learngene: MakeLearngene) -> list[dict[str, Any]]:
    """Everything once; what the registry holds then, without what differs by clock."""
    register(learngene(1), "vit", metrics={"accuracy": 0.1}, tags={"team": "edge"})
    register(learngene(2), "vit", metrics={"accuracy": 0.6})
    register(learngene(1), "vit", metrics={"accuracy": 0.7, "loss": 1 / 3})
    register(learngene(1), "vit.copy", metrics={})
    set_alias("vit", "champion", 2)
    set_alias("vit", "next", 1)
    set_alias("vit", "champion", 1)
    return [{**entry.to_json(), "created": None} for entry in list_entries()]


def test_a_server_gives_what_sqlite_gives(
    address: str, ready_home: Path, learngene: MakeLearngene, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_sqlite = _scenario(learngene)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    assert _scenario(learngene) == on_sqlite
    assert [(entry["version"], entry["aliases"]) for entry in on_sqlite] == [
        (1, ["champion", "next"]),
        (2, ["previous"]),
        (1, []),
    ]
    assert pull("vit") == ready_home / "cache" / "learngenes" / find_entry("vit:1").digest


def test_a_server_compares_the_numbers_and_keeps_a_curve_once(
    address: str, ready_home: Path, learngene: MakeLearngene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    low = register(learngene(3), "compared", metrics={"score": 0.5})
    high = register(learngene(4), "compared", metrics={"score": 0.9})
    for _ in range(2):
        log_training(high, "pretrain", [{"step": 0, "loss": 0.3}, {"step": 10, "loss": 0.1}])
    with connect() as client:
        experiment = client.get_experiment_by_name(EXPERIMENT)
        assert experiment
        found = client.search_logged_models([experiment.experiment_id], "metrics.score > 0.7")
        history = client.get_metric_history(found[0].source_run_id or "", "pretrain/loss")
    assert [model.tags["learngene.digest"] for model in found] == [high.digest]
    assert [(metric.step, metric.value) for metric in history] == [(0, 0.3), (10, 0.1)]
    assert low.parameters == high.parameters


def test_a_server_keeps_the_report_of_a_bench(
    address: str, ready_home: Path, learngene: MakeLearngene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    report = tmp_path / "report"
    report.mkdir()
    (report / "RESULTS.md").write_text("# pico\n", encoding="utf-8")
    entry = log_evidence(
        register(learngene(5), "proven", metrics={}), {"bench/b/front/1x8/score": 0.6}, report, "bench/b"
    )
    assert entry.metrics["bench/b/front/1x8/score"] == 0.6
    with connect() as client:
        run_id = client.get_model_version("proven", "1").run_id or ""
        assert [file.path for file in client.list_artifacts(run_id, "bench/b")] == ["bench/b/RESULTS.md"]


def test_a_server_says_what_is_not_there(address: str, ready_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(NotFoundError, match=f"no 'absent' in the registry {address}"):
        find_entry("absent")


@pytest.mark.slow
def test_over_rest_too_what_another_process_does_is_in_the_next_answer(
    address: str, ready_home: Path, learngene: MakeLearngene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    others_are_seen(ready_home, address, learngene, "seen")


@pytest.mark.slow
def test_over_rest_too_one_of_eight_promoters_wins(
    address: str, ready_home: Path, learngene: MakeLearngene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    eight_promoters(ready_home, address, learngene)
