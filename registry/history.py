"""The append-only log of a name's promotions, and the aliases that follow from it.

The log of NAME is the registered model `NAME@history`: one version a record, with the record in a tag. MLflow gives
every version the next number exactly once, in one transaction of its database, whatever host asks; so records stand in
one order for everybody. A record names the record it was decided upon (`base`). It counts only if no other record that
counts came in between: of two promoters who looked at the same state the first one wins, and the other reads in the log
that it lost. The aliases `champion`, `previous` and `candidate` are what the log says; whoever finds others sets them.
"""

import getpass
import logging
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from registry.entries import CHAMPION
from registry.gate import Verdict
from registry.mirror import touch
from registry.server import unless_there
from registry.shelf import OURS, OWN, PAGE, pages, versions_of
from zoo.errors import IntegrityError, ZooError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

PREVIOUS, CANDIDATE = "previous", "candidate"
ALIASES = (CHAMPION, PREVIOUS, CANDIDATE)
TRIES = 20  # how often something is written while others write at the same moment
REFUSED = "PERMISSION_DENIED"  # trying again changes nothing
TAG = f"{OURS}record"

Action = Literal["promote", "set", "propose", "rollback"]
Outcome = Literal["done", "refused", "lost"]
_log = logging.getLogger(__name__)


class Record(BaseModel):
    """What somebody wanted: `to` as the champion (`promote` through gates, `set` without), as candidate, or a rollback.

    base: the number of the last record that counted when this was decided.
    champions: the champions before the first record, the last one last; only record 1 needs it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    action: Action
    who: str
    base: int
    before: int | None
    to: int
    verdicts: tuple[Verdict, ...] = ()
    reason: str = ""
    champions: tuple[int, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether a gate said no."""
        return any(verdict.failed for verdict in self.verdicts)

    @property
    def failures(self) -> list[str]:
        """What did not hold, a line a size; of two gates the first is that of the recipe."""
        gates = ("the recipe's gate: ", "--gate: ") if len(self.verdicts) == 2 else ("",)
        judged = zip(gates, self.verdicts, strict=False)
        return [f"{gate}{row.size}: {row.fails}" for gate, verdict in judged for row in verdict.failed]


class Event(BaseModel):
    """A record with its number, its time (of the server), and what became of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    when: datetime
    outcome: Outcome
    record: Record

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return self.model_dump(mode="json")


@dataclass(frozen=True)
class State:
    """What a log says: all champions that a rollback can go back to, and the last record that counted (0: none)."""

    champions: tuple[int, ...] = ()
    candidate: int | None = None
    last: int = 0
    events: tuple[Event, ...] = ()

    @property
    def aliases(self) -> dict[str, int | None]:
        """The version that every alias of ours means."""
        champion, previous = (None, None, *self.champions)[:-3:-1]
        return {CHAMPION: champion, PREVIOUS: previous, CANDIDATE: self.candidate}

    def after(self, number: int, when: datetime, record: Record) -> "State":
        """The state with one more record."""
        if record.base != self.last:
            return self._with(Event(number=number, when=when, outcome="lost", record=record))
        champions, candidate = self.champions or record.champions, self.candidate
        if record.action == "rollback":
            champions = champions[:-1]
        elif record.action == "propose" or record.refused:
            candidate = record.to
        else:
            champions = (*champions, record.to)
            candidate = None if candidate == record.to else candidate
        outcome: Outcome = "refused" if record.refused else "done"
        event = Event(number=number, when=when, outcome=outcome, record=record)
        return State(champions, candidate, number, (*self.events, event))

    def _with(self, event: Event) -> "State":
        return State(self.champions, self.candidate, self.last, (*self.events, event))


def read_state(client: "MlflowClient", name: str) -> State:
    """What the log of `name` says now. Raises `IntegrityError` for a record that is none."""
    only, order = f"name = '{_log_of(name)}'", ["version_number ASC"]
    found: list[ModelVersion] = list(pages(lambda token: client.search_model_versions(only, PAGE, order, token)))
    state = State()
    for version in found:
        try:
            record = Record.model_validate_json(version.tags[TAG])
        except (KeyError, ValueError) as error:
            raise IntegrityError(f"{version.name}:{version.version} is no record of a promotion ({error})") from error
        state = state.after(
            int(version.version), datetime.fromtimestamp(version.creation_timestamp / 1000, UTC), record
        )
    return state


def settle(client: "MlflowClient", name: str) -> State:
    """Let the aliases be what the log says, also where a process died (or was slow) between the two."""
    from mlflow.exceptions import MlflowException

    tries = 0
    while True:
        state = read_state(client, name)
        try:
            if state.last:
                _set_aliases(client, name, state)
        except MlflowException as error:  # of two that set a new alias at the same moment MLflow lets one fail
            tries += 1
            if tries == TRIES or error.error_code == REFUSED:
                raise
            continue
        if read_state(client, name).last == state.last:  # nobody's later choice was overwritten
            return state


def append(client: "MlflowClient", name: str, record: Record) -> State:
    """Offer a record to the log, and settle. Raises `ZooError` if another one that counts came first."""
    state = _offer(client, name, record)
    outcomes = {event.outcome for event in state.events if event.record.id == record.id}
    if not outcomes or outcomes == {"lost"}:
        other = next(event for event in state.events if event.number > record.base and event.outcome != "lost")
        raise ZooError(
            f"{name}: another promotion was faster: {describe(other)} at {other.when:%Y-%m-%d %H:%M:%S} UTC; "
            f"nothing of yours was changed, look at `zoo history {name}` and decide again"
        )
    return state


def describe(event: Event) -> str:
    """What an event did, in a few words."""
    record = event.record
    done = {"promote": "promoted", "set": "promoted", "propose": "proposed", "rollback": "rolled back to"}
    return f"{record.who} {done[record.action]} version {record.to}{' (refused)' if event.outcome == 'refused' else ''}"


def me() -> str:
    """Who acts: the user of the server if there is one, else of the system, and the host."""
    try:
        user = os.environ.get("MLFLOW_TRACKING_USERNAME") or getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number that has no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def _offer(client: "MlflowClient", name: str, record: Record) -> State:
    from mlflow.exceptions import MlflowException

    log = _log_of(name)
    unless_there(lambda: client.create_registered_model(log, description=f"The promotions of {name}; keep it."))
    for tries in range(1, TRIES + 1):
        try:
            tags = {TAG: record.model_dump_json()}
            client.create_model_version(log, "learngene:/history", tags=tags, await_creation_for=0)
            break
        except MlflowException as error:  # others write at the same moment, or the answer was lost: the log knows
            if error.error_code == REFUSED:
                raise
            state = read_state(client, name)
            is_there = any(event.record.id == record.id for event in state.events)
            if is_there or state.last != record.base:
                break
            if tries == TRIES:
                raise
    return settle(client, name)


def _set_aliases(client: "MlflowClient", name: str, state: State) -> None:
    there = {int(version.version) for version in versions_of(client, [name])}
    aliases = {alias: int(v) for alias, v in client.get_registered_model(name).aliases.items()}
    wanted = {alias: version for alias, version in state.aliases.items() if version in there}
    changed = [alias for alias in ALIASES if wanted.get(alias) != aliases.get(alias)]
    for alias in changed:
        if alias in wanted:
            client.set_registered_model_alias(name, alias, str(wanted[alias]))
        else:
            client.delete_registered_model_alias(name, alias)
    if changed:
        touch(client, name)


def _log_of(name: str) -> str:
    return f"{name}{OWN}history"
