"""The lineage of a learngene: the stages and learngenes before it down to the data, and what was made of it."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from zoo.api import is_folder
from zoo.errors import IntegrityError
from zoo.files import home
from zoo.manifest import Manifest
from zoo.provenance import PROVENANCE, Data, Made, Origin, Provenance, read_provenance

if TYPE_CHECKING:
    from registry.entries import Entry
    from registry.lineage import Child

_log = logging.getLogger(__name__)


class Node(BaseModel):
    """A learngene, a stage, a folder, the data or a ready model, with what it was made of, or what was made of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    name: str
    digest: str | None = None
    facts: dict[str, Any] = {}
    of: "tuple[Node, ...]" = ()


class Lineage(BaseModel):
    """A learngene, all before it (`origins`), and all after it (`children`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    learngene: Node
    origins: tuple[Node, ...]
    children: tuple[Node, ...]


def lineage_of(ref: str, manifest: Manifest, provenance: Provenance | None) -> Lineage:
    """Of a learngene that was shown; `ref` is its reference or its folder."""
    own = Node(kind="learngene", name=ref, digest=manifest.digest, facts=_facts(manifest, provenance))
    origins = _before(manifest.parents, provenance, {manifest.digest})
    return Lineage(learngene=own, origins=origins, children=_after(manifest.digest, {manifest.digest}))


def provenance_of(ref: str, folder: Path, entry: "Entry | None") -> Provenance | None:
    """What is known of a learngene in `folder`; of a registered one what was registered, and nothing else."""
    if entry is None or is_folder(ref):
        return read_provenance(folder)
    from registry.entries import local_folder  # mlflow takes seconds to import

    promised, registered = entry.tags.get("provenance"), local_folder(entry.uri)
    for place in (registered, folder) if registered else (folder,):
        try:
            if promised and (found := read_provenance(place, promised)):
                return found
        except IntegrityError as error:  # another machine may have made the same learngene, with another story
            _log.warning("%s: %s is left out: %s", entry.ref, PROVENANCE, error)
    return None


def _facts(manifest: Manifest, provenance: Provenance | None) -> dict[str, Any]:
    facts: dict[str, Any] = {"method": manifest.method.name, "family": manifest.family, "made at": str(manifest.size)}
    return facts | ({"cost of all": str(provenance.cost)} if provenance else {})


def _before(parents: tuple[str, ...], provenance: Provenance | None, seen: set[str]) -> tuple[Node, ...]:
    """What a learngene was made of: by its provenance, else by the digests in its manifest."""
    if provenance is None:
        return tuple(_given(Origin(kind="folder", digest=digest), seen) for digest in parents)
    stages = {stage.stage: stage for stage in provenance.stages}
    return (_stage(provenance.own, stages, provenance.data, seen),)


def _stage(stage: Made, stages: dict[str, Made], data: Data | None, seen: set[str]) -> Node:
    nodes = [
        _stage(stages[origin.name], stages, data, seen) if origin.kind == "stage" else _given(origin, seen)
        for origin in stage.inputs.values()
    ]
    if stage.data and data:
        index = {"index": data.index} if data.index else {}
        nodes.append(Node(kind="data", name=data.kind, digest=data.digest, facts=index))
    facts: dict[str, Any] = {"does": stage.function, "cost": str(stage.cost)}
    facts |= {"seed": stage.seed} if stage.seed is not None else {}
    return Node(kind="stage", name=stage.stage, digest=stage.digest, facts=facts, of=tuple(nodes))


def _given(origin: Origin, seen: set[str]) -> Node:
    """What a stage did not find in its recipe: the registry may know it by its digest."""
    from registry.lineage import holders

    entries = holders(origin.digest) if origin.digest else []
    if not entries or origin.digest in seen:
        return Node(kind=origin.kind, name=origin.name or "given", digest=origin.digest)
    entry = entries[0]
    folder = home() / "cache" / "learngenes" / entry.digest
    provenance = provenance_of(entry.ref, folder, entry)
    facts = {"method": entry.method} | ({"cost of all": str(provenance.cost)} if provenance else {})
    of = _before(entry.parents, provenance, seen | {entry.digest})
    return Node(kind="learngene", name=entry.ref, digest=entry.digest, facts=facts, of=of)


def _after(digest: str, seen: set[str]) -> tuple[Node, ...]:
    from registry.lineage import children

    return tuple(_child(child, seen) for child in children(digest) if child.digest not in seen)


def _child(child: "Child", seen: set[str]) -> Node:
    kind = "learngene" if child.is_learngene else "ready model"
    scores = {name: value for name, value in child.metrics.items() if "/" not in name and name != "parameters"}
    facts = {"method": child.method, "size": str(child.size), "parameters": child.parameters} | scores
    of = _after(child.digest, seen | {child.digest}) if child.is_learngene else ()
    return Node(kind=kind, name=child.ref, digest=child.digest, facts=facts, of=of)
