"""Cards with all that is known now: lineage, cost, and what benches measured since."""

from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.bench.cells import evidence_cells
from pipelines.bench.evidence import split_evidence
from pipelines.models.lineage import provenance_of
from zoo.api import is_folder, locate
from zoo.card import About, Start, learngene_card
from zoo.errors import BadInputError
from zoo.files import atomic_folder, check_out
from zoo.manifest import verify
from zoo.untrusted import CARD

if TYPE_CHECKING:
    from registry.entries import Entry
    from zoo import Learngene, Size

PICTURES = {"curves.png": "While training", "speedup.png": "Speed-up"}
"""What a card shows of the report of a bench."""


def card_of(ref: str) -> str:
    """The card of a learngene, in Markdown, without pictures."""
    return _card(ref, _entry(ref), {})


def write_card(ref: str, out: Path) -> list[str]:
    """Write the card of a learngene and the curves of its benches to the folder `out`; the names of the files."""
    entry = _entry(ref)
    check_out(out, _names(entry))
    with atomic_folder(out) as folder:
        pictures = _pictures(entry, folder) if entry else {}
        (folder / CARD).write_text(_card(ref, entry, pictures), encoding="utf-8")
        return sorted(path.name for path in folder.iterdir())


def start_of(entry: "Entry | None", learngene: "Learngene", size: "Size") -> Start:
    """What the card of a ready model says of its learngene; `entry` is its version, if it is from the registry."""
    if entry is None:
        return Start("a folder", learngene.digest)
    return Start(entry.ref, learngene.digest, nearest(learngene, size, split_evidence(entry.metrics)[1]))


def nearest(learngene: "Learngene", size: "Size", evidence: list[dict[str, Any]]) -> tuple[str, ...] | None:
    """The evidence at the size with the nearest number of parameters; of several there, the best speed-up."""
    wanted = log(learngene.source.at(size).parameters())
    found: list[tuple[float, float, tuple[str, ...]]] = []
    for row in evidence:
        depth, _, width = row["size"].partition("x")
        try:
            measured = learngene.source.at(learngene.size(int(depth), int(width)))
        except BadInputError:  # a bench may name heads that do not follow from the width
            continue
        away = abs(log(measured.parameters()) - wanted)
        found.append((away, -row.get("speed_up", 0.0), evidence_cells(row)))
    return min(found)[2] if found else None


def _entry(ref: str) -> "Entry | None":
    if is_folder(ref):
        return None
    from registry.entries import find_entry  # mlflow takes seconds to import

    return find_entry(ref)


def _card(ref: str, entry: "Entry | None", pictures: dict[str, str]) -> str:
    folder = locate(entry.ref if entry else ref)
    about = About(
        ref=entry.ref if entry else "",
        provenance=provenance_of(ref, folder, entry),
        evidence=[evidence_cells(row) for row in split_evidence(entry.metrics)[1]] if entry else (),
        pictures=pictures,
        license=entry.tags.get("license") if entry else None,
    )
    return learngene_card(verify(folder), about)


def _benches(entry: "Entry | None") -> list[str]:
    return sorted({row["bench"] for row in split_evidence(entry.metrics)[1]}) if entry else []


def _names(entry: "Entry | None") -> tuple[str, ...]:
    return (CARD, *(f"{bench}-{name}" for bench in _benches(entry) for name in PICTURES))


def _pictures(entry: "Entry", folder: Path) -> dict[str, str]:
    from registry.report import fetch_report

    shown: dict[str, str] = {}
    for bench in _benches(entry):
        for path in fetch_report(entry, bench, tuple(PICTURES), folder):
            shown[f"{PICTURES[path.name.removeprefix(f'{bench}-')]} ({bench})"] = path.name
    return shown
