"""What a registered version is to be: the champion at once, or the candidate until a bench shows what its gate asks."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from registry.entries import CHAMPION
from registry.gate import TAG, gate_of
from registry.history import CANDIDATE, settle
from zoo.errors import GateRefusedError, ZooError

if TYPE_CHECKING:
    from registry.entries import Entry


@dataclass(frozen=True)
class Judged:
    """What became of the candidates of a bench: the new champions, and why others are none."""

    promoted: "list[Entry]" = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def raise_if_refused(self) -> None:
        """Raise `GateRefusedError` with a line for every candidate that was refused."""
        if self.refused:
            raise GateRefusedError("\n".join(self.refused))


def choose(entry: "Entry") -> "Entry":
    """Make a registered version the champion, or the candidate where it has a gate.

    An old result that is registered again must not undo a later choice: what was decided about stays as it is.
    """
    from registry.entries import find_entry
    from registry.promote import set_alias

    if _is_decided(entry):
        return find_entry(entry.ref)
    return set_alias(entry.name, CANDIDATE if gate_of(entry) else CHAMPION, entry.version)


def gate_tags(name: str) -> dict[str, str]:
    """The gate of a name (that of its champion, else of its newest), as the tag of a version that no recipe makes."""
    from registry.entries import versions

    found = versions(name)
    champion = next((entry for entry in found if CHAMPION in entry.aliases), None)
    last = champion or max(found, key=lambda entry: entry.version, default=None)
    return {TAG: last.tags[TAG]} if last and TAG in last.tags else {}


def judge_candidates(entries: "Collection[Entry]", bench: str) -> Judged:
    """Promote those of `entries` that are candidates and whose gate asks for this bench, if it lets them."""
    from registry.entries import find_entry
    from registry.promote import promote

    judged = Judged()
    for ref in dict.fromkeys(entry.ref for entry in entries):
        entry = find_entry(ref)
        gate = gate_of(entry)
        if gate is None or gate.bench != bench or CANDIDATE not in entry.aliases:
            continue
        try:
            judged.promoted.append(promote(ref, reason=f"bench {bench}"))
        except ZooError as error:  # refused, or another promotion was faster: the results of the bench stay
            judged.refused.append(str(error))
    return judged


def _is_decided(entry: "Entry") -> bool:
    """Whether it or a later version is the champion, or the history names it: not so after a kill before that."""
    from registry.entries import versions
    from registry.server import connect

    with connect() as client:
        state = settle(client, entry.name)  # a process may have died before it set the aliases
    champion = next((other.version for other in versions(entry.name) if CHAMPION in other.aliases), 0)
    named = any(event.record.to == entry.version for event in state.events)
    return champion >= entry.version or (named and bool(champion or gate_of(entry)))
