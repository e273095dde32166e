"""From a recipe's finished stages to versions in the registry."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.artifacts.patience import keep_trying
from pipelines.artifacts.store import METRICS, Record, Store
from pipelines.recipe.recipe import Recipe, Registration
from registry.candidates import choose
from registry.entries import Entry
from registry.gate import TAG
from registry.unchanged import keep, recall
from zoo.files import digest_file
from zoo.provenance import PROVENANCE

if TYPE_CHECKING:
    from pipelines.run.status import StageStatus


def check_registry(recipe: Recipe) -> None:
    """Raise `NotFoundError` if the registry does not answer, `BadInputError` for a name that ready models have."""
    from registry.register import check_kind
    from registry.server import connect  # mlflow takes seconds to import

    with connect() as client:
        for name in recipe.entries:
            check_kind(client, name, ready=False)


def known(recipe: Recipe, store: Store, rows: "Sequence[StageStatus]") -> list[Entry] | None:
    """What `register` would give, where that is known without a question; None where stages or MLflow are to be asked.

    So it is when all stages are done and nobody wrote to the registry since they were registered.
    """
    if not recipe.entries:
        return []
    if any(row.state != "cached" for row in rows):
        return None
    return recall(_question(_made(recipe, store, rows)))


def register(recipe: Recipe, store: Store, rows: "Sequence[StageStatus]") -> list[Entry]:
    """Register what the recipe names, with the scores of its stage. What is new becomes the champion, or the candidate.

    A registry that does not answer is waited for: the stages may have taken days.
    """
    made = _made(recipe, store, rows)
    entries = [keep_trying(partial(one.register, name), _is_away) for name, one in made.items()]
    keep(_question(made), entries)
    return entries


def _is_away(error: Exception) -> bool:
    from registry.server import RegistryAwayError

    return isinstance(error, RegistryAwayError)


def _made(recipe: Recipe, store: Store, rows: "Sequence[StageStatus]") -> "dict[str, _Made]":
    by_name = {row.name: row for row in rows}
    return {name: _Made.of(recipe, store, name, by_name[wanted.stage]) for name, wanted in recipe.entries.items()}


def _question(made: "dict[str, _Made]") -> dict[str, Any]:
    return {name: one.question for name, one in made.items()}


@dataclass(frozen=True)
class _Made:
    """What a stage made that is to be registered."""

    stage: str
    folder: Path
    record: Record
    tags: dict[str, str]

    @classmethod
    def of(cls, recipe: Recipe, store: Store, name: str, row: "StageStatus") -> "_Made":
        record = store.record(row.key)
        assert record is not None
        folder = store.verified(row.key)
        tags = _tags(recipe, recipe.entries[name]) | {"key": row.key}
        if (folder / PROVENANCE).is_file():  # a result of an earlier version has none
            tags["provenance"] = digest_file(folder / PROVENANCE)
        return cls(row.name, folder, record, tags)

    @property
    def question(self) -> dict[str, Any]:
        """All that a registration follows from."""
        return {
            "stage": self.stage,
            "folder": str(self.folder),
            "record": self.record.model_dump_json(),
            "tags": self.tags,
        }

    def register(self, name: str) -> Entry:
        from registry.register import log_training, register  # mlflow takes seconds to import
        from trainers.metrics import read_metrics

        entry = register(self.folder, name, metrics=self.record.scores, tags=self.tags)
        log_training(entry, self.stage, read_metrics(self.folder.parent / METRICS))
        return choose(entry)


def _tags(recipe: Recipe, wanted: Registration) -> dict[str, str]:
    own = {"recipe": recipe.name, "stage": wanted.stage}
    task = {"task": wanted.task} if wanted.task else {}
    gate = {TAG: wanted.gate.text} if wanted.gate else {}
    return {**wanted.tags, **own, **task, **gate}
