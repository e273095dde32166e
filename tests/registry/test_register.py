"""Registering: whole or not at all, once for every learngene, and with numbers that MLflow can compare."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from registry.entries import find_entry, list_entries
from registry.register import log_training, register
from registry.server import connect
from registry.shelf import EXPERIMENT
from zoo.errors import BadInputError, IntegrityError, NotFoundError
from zoo.manifest import TENSORS, read_manifest

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

MakeLearngene = Callable[..., Path]

pytestmark = pytest.mark.usefixtures("ready_home")


def _search(filter_string: str) -> set[str]:
    """What MLflow itself finds: the digests of the logged models that fit."""
    with connect() as client:
        experiment = client.get_experiment_by_name(EXPERIMENT)
        assert experiment is not None
        models = client.search_logged_models([experiment.experiment_id], filter_string)
    return {model.tags["learngene.digest"] for model in models}


def test_an_entry_says_what_the_manifest_says(learngene: MakeLearngene) -> None:
    folder = learngene()
    manifest = read_manifest(folder)
    entry = register(folder, "vit-tiny", metrics={"accuracy": 0.1}, tags={"team": "edge"})
    assert (entry.name, entry.version, entry.aliases) == ("vit-tiny", 1, ())
    assert entry.digest == manifest.digest
    assert entry.uri == folder.as_uri()
    assert (entry.family, entry.method) == ("vit", "front")
    assert (entry.legal, entry.parents) == (manifest.legal, manifest.parents)
    assert entry.parameters == manifest.parameters
    assert entry.metrics == {"accuracy": 0.1, "parameters": manifest.parameters}
    assert entry.tags == {"team": "edge"}
    assert find_entry("vit-tiny") == entry


def test_registering_twice_is_one_version(learngene: MakeLearngene) -> None:
    first = register(learngene(), "vit", metrics={"accuracy": 0.5})
    assert register(learngene(), "vit", metrics={"accuracy": 0.5}) == first
    assert list_entries() == [first]


def test_registering_again_updates_numbers_tags_and_place(learngene: MakeLearngene) -> None:
    register(learngene(store="old"), "vit", metrics={"accuracy": 0.5, "loss": 1.0}, tags={"a": "1", "b": "1"})
    moved = learngene(store="new")
    register(moved, "vit", metrics={"accuracy": 0.4, "flops": 7e9}, tags={"b": "2"})
    (entry,) = list_entries()
    assert entry.uri == moved.as_uri()
    assert {**entry.metrics, "parameters": 0} == {"accuracy": 0.4, "loss": 1.0, "flops": 7e9, "parameters": 0}
    assert entry.tags == {"a": "1", "b": "2"}


def test_one_learngene_may_have_two_names(learngene: MakeLearngene) -> None:
    register(learngene(), "vit", metrics={"accuracy": 0.5})
    register(learngene(), "vit.copy", metrics={"accuracy": 0.6})
    assert [(entry.ref, entry.metrics["accuracy"]) for entry in list_entries()] == [
        ("vit:1", 0.5),
        ("vit.copy:1", 0.6),
    ]


def test_mlflow_itself_can_compare_the_numbers(learngene: MakeLearngene) -> None:
    low = register(learngene(1), "vit.a", metrics={"accuracy": 0.5})
    high = register(learngene(2), "vit.b", metrics={"accuracy": 0.9})
    assert _search("metrics.accuracy > 0.7") == {high.digest}
    assert _search(f"metrics.parameters <= {low.parameters} AND metrics.accuracy < 0.7") == {low.digest}
    assert _search("tags.`learngene.family` = 'vit'") == {low.digest, high.digest}
    assert _search("tags.`learngene.name` = 'vit.a'") == {low.digest}


def test_a_damaged_learngene_is_not_registered(learngene: MakeLearngene, tmp_path: Path) -> None:
    folder = learngene()
    (folder / TENSORS).write_bytes(b"\0" + (folder / TENSORS).read_bytes()[1:])
    with pytest.raises(IntegrityError, match=f"{TENSORS}: not a whole safetensors file"):
        register(folder, "vit", metrics={})
    with pytest.raises(NotFoundError, match="no learngene here"):
        register(tmp_path, "vit", metrics={})
    assert list_entries() == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "a/b"}, "name 'a/b' is not legal"),
        ({"metrics": {"accuracy": float("nan")}}, "metric 'accuracy': nan is not legal"),
        ({"metrics": {"a b": 1.0}}, "metric 'a b': the name is not legal"),
        ({"metrics": {"parameters": 1.0}}, "'parameters', which is counted"),
        ({"tags": {"learngene.digest": "0"}}, "tag 'learngene.digest': the prefixes"),
    ],
)
def test_illegal_values_are_named(learngene: MakeLearngene, values: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        register(learngene(), **{"name": "vit", "metrics": {}, **values})


def test_another_host_that_registers_at_the_same_time_makes_no_second_version(
    learngene: MakeLearngene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock file is for one host; here another one writes between our look and our own writing."""
    folder = learngene()
    with connect() as client:
        client_class = type(client)
    real = client_class.create_model_version

    def other_was_faster(self: "MlflowClient", name: str, *args: Any, **kwargs: Any) -> "ModelVersion":
        monkeypatch.setattr(client_class, "create_model_version", real)
        real(self, name, *args, **kwargs)
        return real(self, name, *args, **kwargs)

    monkeypatch.setattr(client_class, "create_model_version", other_was_faster)
    entry = register(folder, "vit", metrics={"accuracy": 0.5})
    assert entry.ref == "vit:1"
    assert entry.metrics["accuracy"] == 0.5
    assert list_entries() == [entry]


def test_a_training_curve_is_logged_once_and_searches_do_not_see_its_steps(learngene: MakeLearngene) -> None:
    entry = register(learngene(), "vit", metrics={"loss": 0.2})
    curve = [{"step": step, "loss": 1.0 / (step + 1), "lr": 1e-3} for step in range(600)]
    log_training(entry, "pretrain", curve[:400])
    log_training(entry, "pretrain", curve)
    with connect() as client:
        run_id = client.get_model_version("vit", "1").run_id
        assert run_id
        history = client.get_metric_history(run_id, "pretrain/loss")
    assert sorted((metric.step, metric.value) for metric in history) == [(p["step"], p["loss"]) for p in curve]
    assert find_entry("vit") == entry
    assert _search("metrics.`pretrain/loss` > 0") == set()


def test_a_curve_without_steps_is_refused(learngene: MakeLearngene) -> None:
    entry = register(learngene(), "vit", metrics={})
    with pytest.raises(BadInputError, match="curve of 'pretrain', point 1: 'step' is missing; it has loss"):
        log_training(entry, "pretrain", [{"step": 0, "loss": 1.0}, {"loss": 0.5}])


def test_the_registry_holds_no_weights(learngene: MakeLearngene, ready_home: Path) -> None:
    folder = learngene()
    entry = register(folder, "vit", metrics={})
    assert not list(ready_home.rglob("*.safetensors"))
    shutil.rmtree(folder)
    assert find_entry("vit") == entry
