"""The provenance of a stage's learngene: gathered before the stage runs, written beside the learngene afterwards."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.artifacts.store import Store
from pipelines.recipe.identity import describe
from pipelines.recipe.recipe import Recipe
from pipelines.recipe.sources import AnySource, locate
from pipelines.recipe.stages import Condense, Ref, Registered, Stage, inputs, sources
from pipelines.run.effort import environment
from trainers.data.identity import identity, index_digest
from zoo.card import About, learngene_card
from zoo.files import digest_file, digest_json
from zoo.manifest import MANIFEST, read_manifest
from zoo.provenance import (
    FREE,
    UNKNOWN,
    Cost,
    Data,
    Effort,
    Made,
    Origin,
    Provenance,
    read_provenance,
    write_provenance,
)
from zoo.provenance import Recipe as Written
from zoo.untrusted import CARD

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Gathered:
    """What is known before a stage runs: all that it needs, and what it is told to do."""

    recipe: Written
    data: Data | None
    before: tuple[Made, ...]
    own: Made

    @classmethod
    def of(cls, recipe: Recipe, name: str, keys: dict[str, str], store: Store) -> "Gathered":
        """Of a stage whose inputs are finished."""
        needed = _needed(recipe, name)
        before = [_made(recipe, stage, keys, store) for stage in recipe.order() if stage in needed]
        own = _made(recipe, name, keys, store)
        told = Written(name=recipe.name, text=recipe.written.text, overrides=recipe.written.overrides)
        data = _data(recipe) if any(stage.data for stage in (*before, own)) else None
        return cls(told, data, tuple(before), own)

    def write(self, folder: Path, scores: dict[str, float], effort: Effort | None) -> None:
        """Write the provenance of the learngene in `folder` beside it."""
        digest = read_manifest(folder).digest
        own = self.own.model_copy(
            update={"digest": digest, "cost": cost(effort, scores), "environment": effort and effort.environment}
        )
        stages = (*self.before, own)
        _write(folder, Provenance(learngene=digest, recipe=self.recipe, data=self.data, stages=stages))


def write_by_hand(folder: Path, seconds: float) -> str:
    """The provenance of a learngene that was condensed without a recipe; the SHA-256 of the file."""
    manifest = read_manifest(folder)
    method = manifest.method.model_dump(mode="json")
    effort = Effort(environment=environment(), starts=1, core_seconds=seconds, gpu_seconds=0.0)
    own = Made(
        stage="condense",
        function="condense",
        key=digest_json({"method": method, "weights": manifest.parents}),
        config={"method": method},
        inputs={"weights": Origin(kind="folder", digest=next(iter(manifest.parents), None))},
        data=False,
        digest=manifest.digest,
        cost=cost(effort, {}),
        environment=effort.environment,
    )
    return _write(folder, Provenance(learngene=manifest.digest, recipe=None, data=None, stages=(own,)))


def _write(folder: Path, provenance: Provenance) -> str:
    """Write the provenance, and the card with it in; the SHA-256 of the provenance."""
    card = learngene_card(read_manifest(folder), About(provenance=provenance))
    (folder / CARD).write_text(card, encoding="utf-8")
    return write_provenance(folder, provenance)


def cost(effort: Effort | None, scores: dict[str, float]) -> Cost:
    """What a stage cost; closed forms count no FLOPs."""
    cores, gpus = (effort.core_seconds / 3600, effort.gpu_seconds / 3600) if effort else (None, None)
    return Cost(core_hours=cores, gpu_hours=gpus, flops=scores.get("flops", 0.0))


def _needed(recipe: Recipe, name: str) -> set[str]:
    parents = inputs(recipe.stages[name])
    return parents.union(*(_needed(recipe, parent) for parent in parents))


def _made(recipe: Recipe, name: str, keys: dict[str, str], store: Store) -> Made:
    """A stage as it was run, or is to be."""
    stage, record = recipe.stages[name], store.record(keys[name])
    function, config = (record.function, record.config) if record else _told(recipe, stage, keys)
    train = getattr(stage, "train", None)
    return Made(
        stage=name,
        function=function,
        key=keys[name],
        config=_without_files(config),
        seed=train.seed if train else None,
        inputs={".".join(map(str, loc)): _origin(source, keys, store) for loc, source in sources(stage)},
        data=not isinstance(stage, Condense),
        digest=_digest(store.output(keys[name])) if record else None,
        cost=cost(record.effort if record else None, record.scores if record else {}),
        environment=record.effort.environment if record and record.effort else None,
    )


def _told(recipe: Recipe, stage: Stage, keys: dict[str, str]) -> tuple[str, dict[str, Any]]:
    description = describe(recipe, stage, keys)
    return description["function"], description["config"]


def _origin(source: AnySource, keys: dict[str, str], store: Store) -> Origin:
    if isinstance(source, Ref):
        return Origin(kind="stage", name=source.stage, digest=_digest(store.output(keys[source.stage])))
    folder = locate(source, keys, store)
    told, digest = read_provenance(folder), _digest(folder)
    if isinstance(source, Registered):
        return Origin(kind="entry", name=source.entry, digest=digest, cost=told.cost if told else UNKNOWN)
    return Origin(kind="folder", digest=digest, cost=told.cost if told else FREE)


def _digest(folder: Path) -> str | None:
    """What a learngene's or a model's folder holds, as manifests name their parents; None for other results."""
    if (folder / MANIFEST).is_file():
        return read_manifest(folder).digest
    return digest_file(folder / WEIGHTS) if (folder / WEIGHTS).is_file() else None


def _without_files(config: dict[str, Any]) -> dict[str, Any]:
    """Without the digests of single files of the data, which may be thousands: `Data` has that of all."""
    if "on" not in config:
        return config
    data = {field: value for field, value in config["on"]["data"].items() if field not in ("shards", "texts")}
    return config | {"on": config["on"] | {"data": data}}


def _data(recipe: Recipe) -> Data:
    spec = recipe.data
    return Data(kind=spec.kind, digest=digest_json(identity(spec)), index=index_digest(spec))
