"""What MLflow holds, kept beside this user so that a question needs no reading of ten thousand versions.

MLflow stays the truth: the mirror is `home()/cache/registry/*.db`, and may be deleted at any time. MLflow sets the
`last_updated_timestamp` of a registered model when a version is made or deleted, and at nothing else; so whatever we
write ends with `touch`, which sets it too. An answer from here is confirmed: MLflow is asked for the models that
changed last, with some overlap, and at the same time for the names of the answer, because what others change past us
(an alias set by hand, a name deleted as a whole) sets no stamp. Names that differ are read again, and the answer is
another one. Everything is read again every `SWEEP_SECONDS`. An SQLite file that was not written since is not asked at
all.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from threading import Lock
from typing import TYPE_CHECKING

from registry.entries import Entry, entries_of
from registry.mirror_file import MirrorFile, Shelved
from registry.server import connect
from registry.shelf import OWN, Shelf, among, pages, read
from registry.unchanged import state_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import RegisteredModel

SWEEP_SECONDS = 600
OVERLAP_MS = 10_000  # commits are seen late, and the clocks of a server's replicas differ
RECENT = 5  # changed models that are asked for at once
MANY = 40  # names in one request, which is an address; with more changed names than this, everything is read

Connected = Callable[[], "MlflowClient"]
"""Connects at its first call; later ones give the same client."""


@contextmanager
def when_needed() -> Iterator[Connected]:
    """Yield what connects to the registry only if it is called: an SQLite file that nobody wrote to is not opened."""
    with ExitStack() as stack:
        yield cache(lambda: stack.enter_context(connect()))


def touch(client: "MlflowClient", name: str) -> None:
    """Let every mirror see that something of `name` changed; the last step of whatever writes."""
    model = client.get_registered_model(name)
    client.update_registered_model(name, model.description or "")


@dataclass(eq=False)
class Mirror:
    """The names of one registry, as they were at the last question. `generation` changes with them."""

    uri: str
    names: dict[str, Shelved] = field(default_factory=dict)
    generation: int = 0
    lock: Lock = field(default_factory=Lock)  # one question at a time, where threads ask
    _seen: int = 0  # the newest stamp of MLflow that is in here
    _swept: float = 0.0  # when everything was read
    _state: str | None = None  # of the SQLite file, as it was before we read
    _checked: set[str] = field(default_factory=set)  # names that were compared with the file in this state

    def load(self, connected: Connected) -> None:
        """Have something to answer from: the file, or all that MLflow has, the first time and every `SWEEP_SECONDS`."""
        if not self.generation:
            self._load()
        due = not 0 <= time.time() - self._swept < SWEEP_SECONDS
        if due and not (self.is_current and self._checked >= self.names.keys()):
            state = state_of(self.uri)
            self._read(connected(), None)
            self._state, self._checked = state, set(self.names)

    def confirm(self, connected: Connected, names: Collection[str]) -> bool:
        """Whether nothing changed in MLflow, and these names are there as they are here; what is not is read again."""
        state = state_of(self.uri)  # once: a write between two looks would go unseen
        here = state is not None and state == self._state
        names = set(names) - (self._checked if here else set())
        if here and not names:
            return True
        client = connected()
        with ThreadPoolExecutor(1) as beside:  # a server of several processes answers both at once
            live = beside.submit(self._live, client, sorted(names))
            differ = set() if here else self._changed(client)
            differ |= self._differing(live.result(), names)
        whole = len(differ) > MANY
        self._read(client, None if whole else differ)
        known = self._checked if here else set()
        self._state, self._checked = state, known | (self.names.keys() if whole else names | differ)
        return not differ

    @property
    def is_current(self) -> bool:
        """Whether an SQLite file says that nobody wrote since we read (a server cannot)."""
        return self._state is not None and self._state == state_of(self.uri)

    def _load(self) -> None:
        content = self._file.load()
        self.names, self._seen, self._swept = content.names, content.seen, content.swept
        self.generation += 1

    @cached_property
    def _file(self) -> MirrorFile:
        return MirrorFile.of(self.uri)

    def _live(self, client: "MlflowClient", names: list[str]) -> "list[RegisteredModel]":
        parts = [names[i : i + MANY] for i in range(0, len(names), MANY)]
        return [model for part in parts for model in client.search_registered_models(among(part), MANY)]

    def _changed(self, client: "MlflowClient") -> set[str]:
        order = ["last_updated_timestamp DESC"]
        recent: list[RegisteredModel] = []
        for model in pages(lambda token: client.search_registered_models(None, RECENT, order, token)):
            if (model.last_updated_timestamp or 0) < self._seen - OVERLAP_MS:
                break
            recent.append(model)
        return self._differing(recent, ())

    def _differing(self, models: "Iterable[RegisteredModel]", expected: Collection[str]) -> set[str]:
        """The names whose stamp or aliases are others in MLflow, or that are not there any more."""
        live = {model.name: model for model in models if OWN not in model.name}
        differ = {name for name in expected if name not in live}
        for name, model in live.items():
            here = self.names.get(name)
            aliases = {alias: int(version) for alias, version in model.aliases.items()}
            if here is None or (here.updated, here.aliases) != (model.last_updated_timestamp, aliases):
                differ.add(name)
        return differ

    def _read(self, client: "MlflowClient", names: Collection[str] | None) -> None:
        """Read these names (None: all) and keep them, here and in the file."""
        if names is not None and not names:
            return
        found = _shelved(read(client, names))
        gone = set(self.names if names is None else names) - found.keys()
        self.names = {name: kept for name, kept in self.names.items() if name not in gone} | found
        self._seen = max([self._seen, *(shelved.updated for shelved in found.values())])
        self._swept = time.time() if names is None else self._swept
        self.generation += 1
        self._file.save(found, gone, self._seen, self._swept)


def _shelved(shelf: Shelf) -> dict[str, Shelved]:
    entries, foreign = entries_of(shelf)
    by_name: dict[str, list[Entry]] = {name: [] for name in shelf.updated}
    for entry in entries:
        by_name.setdefault(entry.name, []).append(entry)
    return {
        name: Shelved(
            updated=shelf.updated.get(name, 0),
            aliases=shelf.aliases.get(name, {}),
            entries=[entry.to_json() for entry in of_name],
            foreign=[ref for ref in foreign if ref.rpartition(":")[0] == name],
        )
        for name, of_name in by_name.items()
    }
