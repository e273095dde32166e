"""What MLflow holds of ours, as far as garbage goes: versions, aliases, and how artifacts are called."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry.server import clock, connect
from registry.shelf import OURS, OWN, PAGE, among, pages, versions_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

DAY = 24 * 3600
PIN = "keep"  # a version with this tag, whatever it says, is kept
PARENT = f"{OURS}parent"  # of a ready model: the digest of the learngene that it came from
NAMES = re.compile(r"[0-9a-f]{64}")  # keys of stages and digests, in the place of an artifact


@dataclass(frozen=True)
class Version:
    """A version that we registered. `made_of`: digests; `names`: what its artifact is called (keys, digests)."""

    name: str
    number: int
    digest: str
    names: frozenset[str]
    made_of: frozenset[str]
    is_ready: bool
    is_pinned: bool
    run_id: str
    days: float

    @property
    def ref(self) -> str:
        """The reference that always means this version."""
        return f"{self.name}:{self.number}"


def everywhere(uris: Iterable[str]) -> list[Version]:
    """The versions of all these registries. Raises `RegistryAwayError`."""
    found: list[Version] = []
    for uri in uris:
        with connect(uri) as client:
            found += read(client, None, clock(uri))
    return found


def aliases_of(client: "MlflowClient", names: Collection[str] | None) -> dict[str, dict[str, int]]:
    """The aliases of names (None: of all), histories left out."""
    models = pages(lambda token: client.search_registered_models(among(names), PAGE, page_token=token))
    aliases = {model.name: {alias: int(number) for alias, number in model.aliases.items()} for model in models}
    return {name: found for name, found in aliases.items() if OWN not in name}


def logs(client: "MlflowClient") -> set[str]:
    """The names that have a history."""
    models = pages(lambda token: client.search_registered_models("name LIKE '%@history'", PAGE, page_token=token))
    return {model.name.partition(OWN)[0] for model in models}


def read(client: "MlflowClient", names: Collection[str] | None, now: float) -> list[Version]:
    """The versions (of these names) that we registered."""
    return [version for found in versions_of(client, names) if (version := _version(found, now))]


def _version(found: "ModelVersion", now: float) -> Version | None:
    tags = found.tags
    if f"{OURS}digest" not in tags or f"{OURS}uri" not in tags or not found.run_id:
        return None
    digest, parent = tags[f"{OURS}digest"], tags.get(PARENT)
    return Version(
        name=found.name,
        number=int(found.version),
        digest=digest,
        names=frozenset({digest, *NAMES.findall(f"{tags[f'{OURS}uri']} {tags.get('key', '')}")}),
        made_of=frozenset([*NAMES.findall(tags.get(f"{OURS}parents", "")), *([parent] if parent else [])]),
        is_ready=parent is not None,
        is_pinned=PIN in tags,
        run_id=found.run_id,
        days=(now - found.creation_timestamp / 1000) / DAY,
    )


def has(client: "MlflowClient", tag: str, word: str) -> bool:
    """Whether there is a version with this word in a tag of ours."""
    return bool(client.search_model_versions(f"tags.`{OURS}{tag}` LIKE '%{word}%'", 1))
