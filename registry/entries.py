"""What is in the registry: `Entry`, and how entries are listed and found."""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict

from registry.refs import close_to, known, parse_name, parse_ref
from registry.server import connect, without_credentials
from zoo.errors import IntegrityError, NotFoundError
from zoo.size import LegalSizes

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.store.entities import PagedList

EXPERIMENT = "learngene-zoo"  # holds the numbers of all learngenes, so that one search compares them
OURS = "learngene."  # the prefix of the tags that make a model version an entry
CHAMPION = "champion"  # what a plain name means, if it is set
PAGE = 1000  # the most that MLflow gives at once

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Entry(BaseModel):
    """One version in the registry: a pointer to a learngene, with what people search by.

    `uri` is the folder and `digest` its content; `parameters` counts the learngene's own; `metrics` holds the
    newest value of each number (`parameters` among them); `parents` are digests; `created` is in UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: int
    digest: str
    uri: str
    family: str
    method: str
    aliases: tuple[str, ...]
    parameters: int
    legal: LegalSizes
    parents: tuple[str, ...]
    metrics: dict[str, float]
    tags: dict[str, str]
    created: datetime

    @property
    def ref(self) -> str:
        """The reference that always means this version."""
        return f"{self.name}:{self.version}"

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return self.model_dump(mode="json")


def list_entries(name: str | None = None) -> list[Entry]:
    """All entries (of `name`), by name and version. Versions that others made are skipped with a warning.

    Raises `NotFoundError` if there is no such name.
    """
    with connect() as client:
        shelf = _read(client, name and parse_name(name))
    entries, foreign = [], []
    for version in shelf.versions:
        try:
            entries.append(shelf.entry(version))
        except IntegrityError:
            foreign.append(f"{version.name}:{version.version}")
    if foreign:
        _log.warning("skipped %d model versions that are not learngenes: %s", len(foreign), known(foreign))
    return entries


def versions(name: str) -> list[Entry]:
    """All entries of `name`; none where the name is not known."""
    try:
        return list_entries(name)
    except NotFoundError:
        return []


def find_entry(ref: str) -> Entry:
    """The entry that `NAME@ALIAS`, `NAME:VERSION` or `NAME` means.

    A plain name means its champion if that alias is set, else its newest version. Raises `NotFoundError` that
    says what there is, `IntegrityError` if the version is none of ours.
    """
    name, alias, number = parse_ref(ref)
    with connect() as client:
        shelf = _read(client, name)
    aliases = shelf.aliases.get(name, {})
    found = {int(version.version): version for version in shelf.versions}
    if alias is not None:
        if alias not in aliases:
            raise NotFoundError(f"{ref}: {name!r} has no alias {alias!r}; it has {known(aliases)}")
        number = aliases[alias]
    elif number is None:
        number = aliases.get(CHAMPION, max(found))
    if number not in found:
        raise NotFoundError(f"{ref}: {name!r} has no version {number}; it has {known(found)}")
    return shelf.entry(found[number])


def versions_of(client: "MlflowClient", name: str | None) -> list["ModelVersion"]:
    """All model versions (of `name`), ours or not, by name and number."""
    only = name and f"name = '{name}'"
    order = ["name ASC", "version_number ASC"]
    found = _pages(lambda token: client.search_model_versions(only, PAGE, order, token))
    # a version that moves while we read may come twice
    return list({(version.name, int(version.version)): version for version in found}.values())


def models_of(client: "MlflowClient", experiment_id: str, only: str | None) -> list["LoggedModel"]:
    """The logged models (those that `only` lets through), the oldest first."""
    ids, order = [experiment_id], [{"field_name": "creation_time", "ascending": True}]
    return list(
        _pages(lambda token: client.search_logged_models(ids, only, None, PAGE, order_by=order, page_token=token))
    )


def newest(model: "LoggedModel") -> dict[str, float]:
    """The newest value of each number of a logged model (MLflow keeps the older ones too)."""
    metrics = sorted(model.metrics or [], key=lambda metric: metric.timestamp)
    return {metric.key: metric.value for metric in metrics}


@dataclass(frozen=True)
class _Shelf:
    """What MLflow has: versions; the aliases of each name; the numbers of each run, which a version names."""

    versions: list["ModelVersion"]
    aliases: dict[str, dict[str, int]]
    metrics: dict[str, dict[str, float]]

    def entry(self, version: "ModelVersion") -> Entry:
        """Raises `IntegrityError` if the version was not registered by us."""
        ours = {key.removeprefix(OURS): text for key, text in version.tags.items() if key.startswith(OURS)}
        number, aliases = int(version.version), self.aliases.get(version.name, {})
        try:
            return Entry(
                name=version.name,
                version=number,
                digest=ours["digest"],
                uri=ours["uri"],
                family=ours["family"],
                method=ours["method"],
                aliases=tuple(sorted(alias for alias, target in aliases.items() if target == number)),
                parameters=int(ours["parameters"]),
                legal=LegalSizes.model_validate_json(ours["legal"]),
                parents=tuple(json.loads(ours["parents"])),
                metrics=self.metrics.get(version.run_id or "", {}),
                tags={key: text for key, text in version.tags.items() if not key.startswith(OURS)},
                created=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
            )
        except (KeyError, ValueError) as error:
            raise IntegrityError(
                f"{version.name}:{number} is not a learngene: the {OURS}* tags of the model version do not "
                f"say which ({type(error).__name__}: {error})"
            ) from error


def _read(client: "MlflowClient", name: str | None) -> _Shelf:
    versions = versions_of(client, name)
    if name and not versions:
        names = {version.name for version in versions_of(client, None)}
        where = without_credentials(client.tracking_uri)
        raise NotFoundError(f"no {name!r} in the registry {where}; {close_to(name, names)}")
    only = name and f"name = '{name}'"
    models = _pages(lambda token: client.search_registered_models(only, PAGE, page_token=token))
    # only here does MLflow fill in the aliases: in the versions that a search gives they are empty
    aliases = {model.name: {alias: int(v) for alias, v in model.aliases.items()} for model in models}
    return _Shelf(versions, aliases, _metrics(client, name))


def _metrics(client: "MlflowClient", name: str | None) -> dict[str, dict[str, float]]:
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return {}
    models = models_of(client, experiment.experiment_id, name and f"tags.`{OURS}name` = '{name}'")
    return {model.source_run_id or "": newest(model) for model in reversed(models)}  # the first of a run counts


def _pages(search: Callable[[str | None], "PagedList[T]"]) -> Iterator[T]:
    token: str | None = None
    while True:
        page = search(token)
        yield from page
        token = page.token
        if not token:
            return
