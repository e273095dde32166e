"""Who descends from a learngene: the versions that hold a digest, and those that were made of it."""

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from registry.entries import Entry, entry_of
from registry.server import connect
from registry.shelf import OURS, OWN, PAGE, pages, read
from zoo.errors import IntegrityError
from zoo.size import Size

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


class Child(BaseModel):
    """A version that was made of a learngene: another learngene, or a model (`is_learngene`: false) that is ready."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ref: str
    digest: str
    is_learngene: bool
    family: str
    method: str
    size: Size | None
    parameters: int
    metrics: dict[str, float]


def holders(digest: str) -> list[Entry]:
    """The entries that are the learngene with this digest, by name and version."""
    with connect() as client:
        found = _versions(client, f"tags.`{OURS}digest` = '{digest}'")
        shelf = read(client, {version.name for version in found}) if found else None
    if shelf is None:
        return []
    wanted = {(version.name, version.version) for version in found}
    versions = [version for version in shelf.versions if (version.name, version.version) in wanted]
    entries = []
    for version in versions:
        try:
            entries.append(entry_of(shelf, version))
        except IntegrityError:  # others made it
            continue
    return entries


def children(digest: str) -> list[Child]:
    """What was made of the learngene with this digest, by name and version."""
    with connect() as client:
        ready = _versions(client, f"tags.`{OURS}parent` = '{digest}'")
        made = [*_versions(client, f"tags.`{OURS}parents` LIKE '%{digest}%'"), *ready]
        shelf = read(client, {version.name for version in made}) if made else None
    if shelf is None:
        return []
    found = [_child(version, shelf.metrics.get(version.run_id or "", {})) for version in made]
    return sorted((child for child in found if child), key=lambda child: child.ref)


def _versions(client: "MlflowClient", only: str) -> "list[ModelVersion]":
    found = pages(lambda token: client.search_model_versions(only, PAGE, ["name ASC", "version_number ASC"], token))
    return [version for version in found if OWN not in version.name]


def _child(version: "ModelVersion", metrics: dict[str, float]) -> Child | None:
    ours = {key.removeprefix(OURS): text for key, text in version.tags.items() if key.startswith(OURS)}
    try:
        return Child(
            ref=f"{version.name}:{version.version}",
            digest=ours["digest"],
            is_learngene="parent" not in ours,
            family=ours["family"],
            method=ours["method"],
            size=Size.model_validate_json(ours["size"]) if "size" in ours else None,
            parameters=int(ours["parameters"]),
            metrics=metrics,
        )
    except (KeyError, ValueError):  # others made it
        return None
