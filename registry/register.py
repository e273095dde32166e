"""Writing to the registry: a learngene becomes a version, an alias is set, a training curve is kept.

What is written, in this order: a run and a logged model with the numbers (no entry shows them yet), then the
model version with all its tags in one step (now it is an entry), then the marks that all is there and is new. A process
that dies in between leaves no entry or a whole one, and registering again goes on from there.
"""

import math
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from registry.entries import Entry, find_entry
from registry.mirror import touch
from registry.refs import known, parse_name
from registry.server import artifacts, connect, lock, unless_there
from registry.shelf import EXPERIMENT, KIND, OURS, READY, models_of, newest
from zoo.errors import BadInputError, IntegrityError
from zoo.files import canonical_json

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

    from zoo.manifest import Manifest

PARAMETERS = "parameters"  # the one number that we add ourselves
BATCH = 1000  # numbers that MLflow takes at once


def register(folder: Path, name: str, *, metrics: Mapping[str, float], tags: Mapping[str, str] | None = None) -> Entry:
    """Make the learngene in `folder` a version of `name`; its weights stay where they are.

    The same learngene (by digest) is one version of a name, however often and from however many processes it
    is registered; doing it again updates `metrics` and `tags` and the place where the learngene is.

    Raises:
        NotFoundError: no learngene in `folder`, or no server.
        IntegrityError: the learngene is damaged.
        BadInputError: an illegal name, metric or tag, or a name that ready models have.
    """
    from zoo.learngene import Learngene

    parse_name(name)
    numbers = _numbers(metrics)
    manifest = Learngene.load(folder).manifest
    numbers[PARAMETERS] = float(manifest.parameters)
    texts = {**_own_tags(manifest, folder), **_free_tags(tags or {})}
    with connect() as client, lock():
        version = put(client, name, texts, numbers)
    return find_entry(f"{name}:{version.version}")


def log_training(entry: Entry, stage: str, curve: Sequence[Mapping[str, float]]) -> None:
    """Keep the training curve of a stage with an entry.

    Points like `{"step": 20, "loss": 0.4}` become `STAGE/loss` of the entry's run; one that was logged before
    is not logged again. (Among the numbers of the logged model a search would find the loss of *any* step.)

    Raises `BadInputError` for a point without a step, or a stage whose name is not legal.
    """
    from mlflow.entities import Metric

    for index, point in enumerate(curve):
        if "step" not in point:
            raise BadInputError(f"curve of {stage!r}, point {index}: 'step' is missing; it has {known(point)}")
    stamp = round(entry.created.timestamp() * 1000)  # always the same: it is part of what makes points equal
    points = [
        Metric(f"{parse_name(stage)}/{key}", float(value), stamp, int(point["step"]))
        for point in curve
        for key, value in point.items()
        if key != "step"
    ]
    with connect() as client:
        run_id = _run_of(client.get_model_version(entry.name, str(entry.version)))
        for start in range(0, len(points), BATCH):
            client.log_batch(run_id, points[start : start + BATCH])


def log_evidence(entry: Entry, numbers: Mapping[str, float], folder: Path, place: str) -> Entry:
    """Keep measured numbers with an entry, and the files of the report `folder` (not below) under `place` of its run.

    Raises `BadInputError` for an illegal name or number.
    """
    checked = _numbers(numbers)
    with connect() as client, lock():
        run_id = _run_of(client.get_model_version(entry.name, str(entry.version)))
        experiment_id = client.get_run(run_id).info.experiment_id
        (model, *_) = models_of(client, experiment_id, f"source_run_id = '{run_id}'")
        _log_numbers(client, run_id, model, checked)
        for path in sorted(path for path in folder.iterdir() if path.is_file()):
            client.log_artifact(run_id, str(path), place)
        touch(client, entry.name)
    return find_entry(entry.ref)


def check_name(name: str, *, ready: bool) -> None:
    """Raise `BadInputError` for a name that learngenes (or `ready` models) cannot have: before long work."""
    parse_name(name)
    with connect() as client:
        check_kind(client, name, ready=ready)


def check_kind(client: "MlflowClient", name: str, *, ready: bool) -> None:
    """Raise `BadInputError` for a name that holds the other kind: an alias of it must mean one of the two."""
    other = f"tags.`{OURS}legal` LIKE '%'" if ready else f"tags.`{KIND}` = '{READY}'"
    if not client.search_model_versions(f"name = '{name}' AND {other}", 1):
        return
    if ready:
        raise BadInputError(f"name {name!r} is taken by learngenes; choose another for ready models, as {name}.ready")
    raise BadInputError(f"name {name!r} is taken by ready models; choose another for learngenes")


def put(client: "MlflowClient", name: str, texts: dict[str, str], numbers: dict[str, float]) -> "ModelVersion":
    """The steps in their order, under `lock()`. `texts` are the tags, `numbers` the metrics."""
    check_kind(client, name, ready=texts.get(KIND) == READY)
    digest = texts[f"{OURS}digest"]
    version = _version(client, name, digest)
    run_id = _run_of(version) if version else _run(client, name, digest)
    model = _logged_model(client, name, run_id, texts)
    _log_numbers(client, run_id, model, numbers)
    if version is None:
        unless_there(lambda: client.create_registered_model(name))
        # the source is the content, not the place: a server takes no paths of its clients' machines
        version = client.create_model_version(
            name, f"learngene:/{digest}", run_id, texts, await_creation_for=0, model_id=model.model_id
        )
        first = _version(client, name, digest)
        if first and first.version != version.version:  # another host was faster: the lock is for one host
            client.delete_model_version(name, version.version)
            if first.run_id != run_id:
                client.delete_logged_model(model.model_id)
                client.delete_run(run_id)
            return put(client, name, texts, numbers)
    for key, text in texts.items():
        if version.tags.get(key) != text:
            client.set_model_version_tag(name, str(version.version), key, text)
    client.finalize_logged_model(model.model_id, "READY")
    client.update_run(run_id, "FINISHED")
    touch(client, name)
    return version


def _version(client: "MlflowClient", name: str, digest: str) -> "ModelVersion | None":
    """The first version of `name` that points to the learngene."""
    only = f"name = '{name}' AND tags.`{OURS}digest` = '{digest}'"
    return next(iter(client.search_model_versions(only, 1, ["version_number ASC"])), None)


def _run(client: "MlflowClient", name: str, digest: str) -> str:
    """The run of a learngene under `name`; one that a dead process left is used again."""
    experiment_id = _experiment(client)
    only = f"tags.`{OURS}name` = '{name}' AND tags.`{OURS}digest` = '{digest}'"
    for run in client.search_runs([experiment_id], only, max_results=1):
        return run.info.run_id
    tags = {f"{OURS}name": name, f"{OURS}digest": digest}
    return client.create_run(experiment_id, tags=tags, run_name=name).info.run_id


def _experiment(client: "MlflowClient") -> str:
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        unless_there(lambda: client.create_experiment(EXPERIMENT, artifacts()))
        return _experiment(client)
    return experiment.experiment_id


def _logged_model(client: "MlflowClient", name: str, run_id: str, texts: dict[str, str]) -> "LoggedModel":
    """What MLflow's search compares numbers of: one logged model for each run."""
    experiment_id = client.get_run(run_id).info.experiment_id
    for model in models_of(client, experiment_id, f"source_run_id = '{run_id}'"):
        return model
    tags = {f"{OURS}name": name} | {f"{OURS}{key}": texts[f"{OURS}{key}"] for key in ("digest", "family", "method")}
    name = name.replace(".", "-")  # the names of logged models have no dots
    return client.create_logged_model(experiment_id, name, run_id, tags, model_type="learngene")


def _log_numbers(client: "MlflowClient", run_id: str, model: "LoggedModel", numbers: dict[str, float]) -> None:
    from mlflow.entities import Metric

    there = newest(model)
    stamp = max([round(time.time() * 1000), *(metric.timestamp + 1 for metric in model.metrics or [])])
    changed = {key: value for key, value in numbers.items() if there.get(key) != value}
    if changed:
        client.log_batch(run_id, [Metric(key, v, stamp, 0, model_id=model.model_id) for key, v in changed.items()])


def _run_of(version: "ModelVersion") -> str:
    if not version.run_id:
        raise IntegrityError(f"{version.name}:{version.version} has no run; it was not registered by us")
    return version.run_id


def _numbers(metrics: Mapping[str, float]) -> dict[str, float]:
    for key, value in metrics.items():
        if key == PARAMETERS or not re.fullmatch(r"[\w./-]{1,250}", key, re.ASCII):
            legal = f"letters, digits and '_', '.', '/', '-', and not {PARAMETERS!r}, which is counted"
            raise BadInputError(f"metric {key!r}: the name is not legal; legal are {legal}")
        if not math.isfinite(value):
            raise BadInputError(f"metric {key!r}: {value} is not legal; it must be a finite number")
    return {key: float(value) for key, value in metrics.items()}


def _own_tags(manifest: "Manifest", folder: Path) -> dict[str, str]:
    tags = {
        "digest": manifest.digest,
        "uri": folder.resolve().as_uri(),
        "family": manifest.family,
        "method": manifest.method.name,
        "parameters": str(manifest.parameters),
        "legal": canonical_json(manifest.legal.model_dump(mode="json")),
        "config": canonical_json(manifest.config),
        "size": canonical_json(manifest.size.model_dump(mode="json")),
        "parents": canonical_json(manifest.parents),
    }
    return {OURS + key: text for key, text in tags.items()}


def _free_tags(tags: Mapping[str, str]) -> dict[str, str]:
    for key in tags:
        if key.startswith((OURS, "mlflow.")):
            raise BadInputError(f"tag {key!r}: the prefixes {OURS!r} and 'mlflow.' are taken; choose another")
    return dict(tags)
