"""Which version is the champion: promoted through gates, rolled back in a second, all of it in a log."""

from typing import TYPE_CHECKING
from uuid import uuid4

from registry.entries import CHAMPION, Entry, find_entry, find_version
from registry.gate import Gate, gate_of, judge
from registry.history import PREVIOUS, Action, Event, Record, State, append, me, read_state, settle
from registry.refs import parse_alias, parse_name, parse_ref
from registry.server import connect
from zoo.errors import BadInputError, GateRefusedError, NotFoundError, ZooError
from zoo.signatures import require_signed

if TYPE_CHECKING:
    from mlflow import MlflowClient


def promote(ref: str, gate: Gate | None = None, reason: str = "") -> Entry:
    """Make the version that `ref` (NAME:VERSION or NAME@ALIAS) means the champion, if its gates let it.

    Gates are that of its recipe (the tag `gate`) and `gate`. One that refuses makes the version the candidate and keeps
    the champion. The champion before becomes `previous`.

    Raises:
        GateRefusedError: a gate said no; the message names the rows.
        BadInputError: it is the champion already, or `ref` names no version.
        NotFoundError: no such version.
        IntegrityError: it is not signed as `ZOO_TRUSTED_KEYS` wants it.
        ZooError: another promotion of this name was faster.
    """
    name, alias, number = parse_ref(ref)
    if alias is None and number is None:
        raise BadInputError(f"reference {ref!r} names no version; legal are NAME:VERSION and NAME@ALIAS")
    entry = find_entry(ref)
    with connect() as client:
        state = settle(client, name)
        champion = _champion(client, state, name)
        if champion == entry.version:
            raise BadInputError(f"{entry.ref} is the champion already")
        before = find_entry(f"{name}:{champion}") if champion else None
        gates = [found for found in (gate_of(entry), gate) if found]
        verdicts = tuple(judge(found, entry, before) for found in gates)
        record = _record(client, state, "promote", entry, reason).model_copy(update={"verdicts": verdicts})
        append(client, name, record)
    if record.refused:
        kept = f"{before.ref} stays the champion" if before else "there is no champion yet"
        raise GateRefusedError(f"{entry.ref} is refused, {kept}: {'; '.join(record.failures)}")
    return find_entry(entry.ref)


def rollback(name: str, reason: str = "") -> Entry:
    """Make the champion before this one the champion again; as often as there were champions.

    Raises `NotFoundError` for an unknown name and if there was none or it is gone, `ZooError` if another promotion was
    faster.
    """
    find_version(parse_name(name))
    with connect() as client:
        state = settle(client, name)
        champions = state.champions if state.last else _champions(client, name)
        if len(champions) < 2:
            raise NotFoundError(f"{name}: there was no champion before this one; see `zoo history {name}`")
        entry = find_entry(f"{name}:{champions[-2]}")
        append(client, name, _record(client, state, "rollback", entry, reason))
    return find_entry(entry.ref)


def history(name: str) -> list[Event]:
    """Every promotion, refusal and rollback of a name, the oldest first. Raises `NotFoundError` for an unknown name."""
    with connect() as client:
        events = list(read_state(client, parse_name(name)).events)
    if not events:
        find_entry(name)
    return events


def set_alias(name: str, alias: str, version: int) -> Entry:
    """Let `name@alias` mean this version, and no other any more; of `champion` and `candidate` the history tells.

    No gate is asked. Raises `NotFoundError` if there is no such version, `IntegrityError` if it is none of ours,
    `BadInputError` for `previous`, which follows from the history.
    """
    from registry.mirror import touch

    entry = find_entry(f"{parse_name(name)}:{version}")
    if alias == PREVIOUS:
        raise BadInputError(f"alias {alias!r} is not legal; it follows from the history (zoo promote, zoo rollback)")
    with connect() as client:
        if alias in ("champion", "candidate"):
            _choose(client, entry, "set" if alias == CHAMPION else "propose")
        else:
            client.set_registered_model_alias(name, parse_alias(alias), str(entry.version))
            touch(client, name)
    return find_entry(entry.ref)


def _choose(client: "MlflowClient", entry: Entry, action: Action) -> None:
    """Let the log say so, whatever it says meanwhile: nothing was compared that could have changed."""
    while True:
        state = settle(client, entry.name)
        now = _champion(client, state, entry.name) if action == "set" else state.candidate
        if now == entry.version:
            return
        try:
            append(client, entry.name, _record(client, state, action, entry, ""))
        except ZooError:
            if read_state(client, entry.name).last == state.last:  # not that another one was faster
                raise


def _record(client: "MlflowClient", state: State, action: Action, entry: Entry, reason: str) -> Record:
    """What is to be appended. Raises `IntegrityError` for a champion that `ZOO_TRUSTED_KEYS` does not allow."""
    if action != "propose":
        require_signed(entry.folder, entry.digest, entry.ref)
    return Record(
        id=uuid4().hex,
        action=action,
        who=me(),
        base=state.last,
        before=_champion(client, state, entry.name),
        to=entry.version,
        reason=reason,
        champions=() if state.last else _champions(client, entry.name),
    )


def _champion(client: "MlflowClient", state: State, name: str) -> int | None:
    champions = state.champions if state.last else _champions(client, name)
    return champions[-1] if champions else None


def _champions(client: "MlflowClient", name: str) -> tuple[int, ...]:
    """The champions of a name without a history, by its aliases."""
    aliases = client.get_registered_model(name).aliases
    return tuple(int(aliases[alias]) for alias in (PREVIOUS, CHAMPION) if alias in aliases)
