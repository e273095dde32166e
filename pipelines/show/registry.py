"""What people see of answers, sizes and promotions: tables by rich."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from pipelines.show import name_column
from registry.evidence import speed_text
from zoo.budget import count_text

if TYPE_CHECKING:
    from registry import Found, Page
    from registry.history import Event
    from registry.verify import Checked
    from zoo.solve import Fill

STYLES = {
    "done": "green",
    "refused": "red",
    "lost": "dim",
    "holds": "green",
    "foreign": "dim",
    "damaged": "red",
    "missing": "red",
    "unsigned": "red",
}


def found_table(page: "Page") -> Table:
    """One row a learngene, with the size that is asked for and the evidence that orders it."""
    columns = ("aliases", "method", "size", "parameters", "FLOPs", "latency", "score", "speed-up", "measured at")
    table = Table(name_column("name"), *columns, box=SIMPLE_HEAD)
    for found in page.found:
        entry = found.entry
        counts = _count(found.parameters, found.of_parameters), _count(found.flops, found.of_flops)
        of_what = (entry.ref, ", ".join(entry.aliases), f"{entry.method} ({entry.family})", _size(found))
        table.add_row(*of_what, *counts, _latency(found.latency), *_evidence(found))
    return table


def fill_table(fills: "Sequence[Fill]") -> Table:
    """One row a size."""
    table = Table("depth", "width", "heads", "mlp", "parameters", "FLOPs", "latency", box=SIMPLE_HEAD)
    for fill in fills:
        size = fill.size
        numbers = (str(number) for number in (size.depth, size.width, size.heads or "-", size.mlp))
        counts = _count(fill.parameters, fill.of_parameters), _count(fill.flops, fill.of_flops)
        table.add_row(*numbers, *counts, _latency(fill.latency))
    return table


def history_table(events: "Sequence[Event]") -> Table:
    """One row a promotion, refusal or rollback."""
    table = Table("#", "when (UTC)", "who", "what", "from", "to", "outcome", "why", box=SIMPLE_HEAD)
    for event in events:
        record = event.record
        why = "\n".join([*([record.reason] if record.reason else []), *record.failures])
        before = str(record.before) if record.before else "-"
        when, outcome = f"{event.when:%Y-%m-%d %H:%M:%S}", Text(event.outcome, STYLES[event.outcome])
        table.add_row(str(event.number), when, record.who, record.action, before, str(record.to), outcome, why)
    return table


def _size(found: "Found") -> str:
    return str(found.size) if found.size else "any"


def _count(value: int | None, share: float | None) -> str:
    if value is None:
        return "-"
    return count_text(value) + (f" ({100 * share:.1f} %)" if share is not None else "")


def _latency(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1000 * seconds:.3g} ms"


def _evidence(found: "Found") -> tuple[str, str, str]:
    if not found.evidence:
        return "-", "-", "nothing measured"
    first = found.evidence[0]
    score = f"{first.metric} {first.numbers[first.metric]:.4g}" if first.metric else "-"
    speed = speed_text(first.numbers)
    place = "this size" if found.exact else first.size
    return score, f"{speed} x" if speed else "not reached", f"{place}, {first.bench}"


def verified_table(checked: "Sequence[Checked]") -> Table:
    """One row a learngene or ready model that was checked."""
    table = Table(name_column("learngene"), "state", "digest", "signed by", "what is wrong", box=SIMPLE_HEAD)
    for row in checked:
        keys = ", ".join(key[:12] for key in row.signers)
        table.add_row(Text(row.what), Text(row.state, STYLES[row.state]), row.digest[:12], keys, Text(row.problem))
    return table
