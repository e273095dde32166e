"""What MLflow has of a registry, read whole: `Shelf`. What it means, `registry.entries` and `registry.ready` say."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.store.entities import PagedList

EXPERIMENT = "learngene-zoo"  # holds the numbers of all learngenes, so that one search compares them
OURS = "learngene."  # the prefix of the tags that make a model version an entry
KIND, READY = f"{OURS}kind", "ready"  # the tag that makes a model version a ready model (`registry.ready`)
OWN = "@"  # in the name of a registered model: it is no learngene but what we keep beside one (its history)
PAGE = 1000  # the most that MLflow gives at once

T = TypeVar("T")


@dataclass(frozen=True)
class Shelf:
    """What MLflow has: versions; aliases of each name, and its last change; the numbers of each run of a version."""

    versions: list["ModelVersion"]
    aliases: dict[str, dict[str, int]]
    updated: dict[str, int]
    metrics: dict[str, dict[str, float]]

    def fields(self, version: "ModelVersion") -> dict[str, Any]:
        """What learngenes and ready models have in common, as `Pointer` and its kinds want it; not yet checked.

        Raises `KeyError` or `ValueError` if the version was not registered by us.
        """
        ours, number = of_ours(version), int(version.version)
        aliases = self.aliases.get(version.name, {})
        return {
            "name": version.name,
            "version": number,
            "digest": ours["digest"],
            "uri": ours["uri"],
            "family": ours["family"],
            "method": ours["method"],
            "aliases": tuple(sorted(alias for alias, target in aliases.items() if target == number)),
            "parameters": int(ours["parameters"]),
            "metrics": self.metrics.get(version.run_id or "", {}),
            "tags": {key: text for key, text in version.tags.items() if not key.startswith(OURS)},
            "created": datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
        }


def of_ours(version: "ModelVersion") -> dict[str, str]:
    """Our tags of a version, without their prefix."""
    return {key.removeprefix(OURS): text for key, text in version.tags.items() if key.startswith(OURS)}


def is_ready(version: "ModelVersion") -> bool:
    """Whether a model version is a ready model."""
    return version.tags.get(KIND) == READY


def read(client: "MlflowClient", names: Collection[str] | None = None) -> Shelf:
    """All that MLflow has (of `names`), names that it does not know left out."""
    models = list(pages(lambda token: client.search_registered_models(among(names), PAGE, page_token=token)))
    versions = versions_of(client, names)
    # only here does MLflow fill in the aliases: in the versions that a search gives they are empty
    aliases = {model.name: {alias: int(v) for alias, v in model.aliases.items()} for model in models}
    updated = {model.name: model.last_updated_timestamp or 0 for model in models if OWN not in model.name}
    return Shelf(versions, aliases, updated, _metrics(client, names))


def versions_of(client: "MlflowClient", names: Collection[str] | None = None) -> list["ModelVersion"]:
    """All model versions (of `names`), whoever made them, by name and number; without histories."""
    order = ["name ASC", "version_number ASC"]
    found = pages(lambda token: client.search_model_versions(among(names), PAGE, order, token))
    # a version that moves while we read may come twice
    return list(
        {(version.name, int(version.version)): version for version in found if OWN not in version.name}.values()
    )


def among(names: Collection[str] | None) -> str | None:
    """MLflow's filter for these names; None for all."""
    return None if names is None else "name IN ({})".format(", ".join(f"'{name}'" for name in sorted(names)))


def models_of(client: "MlflowClient", experiment_id: str, only: str | None) -> list["LoggedModel"]:
    """The logged models (those that `only` lets through), the oldest first."""
    ids, order = [experiment_id], [{"field_name": "creation_time", "ascending": True}]
    return list(
        pages(lambda token: client.search_logged_models(ids, only, None, PAGE, order_by=order, page_token=token))
    )


def newest(model: "LoggedModel") -> dict[str, float]:
    """The newest value of each number of a logged model (MLflow keeps the older ones too)."""
    metrics = sorted(model.metrics or [], key=lambda metric: metric.timestamp)
    return {metric.key: metric.value for metric in metrics}


def _metrics(client: "MlflowClient", names: Collection[str] | None) -> dict[str, dict[str, float]]:
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return {}
    filters = [None] if names is None else [f"tags.`{OURS}name` = '{name}'" for name in sorted(names)]
    models = [model for only in filters for model in models_of(client, experiment.experiment_id, only)]
    return {model.source_run_id or "": newest(model) for model in reversed(models)}  # the first of a run counts


def pages(search: Callable[[str | None], "PagedList[T]"]) -> Iterator[T]:
    """Everything that a search of MLflow gives, page after page."""
    token: str | None = None
    while True:
        page = search(token)
        yield from page
        token = page.token
        if not token:
            return
