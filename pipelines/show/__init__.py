"""What people see: where it is written, and the tables of several verbs, by rich."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.progress import Progress as ProgressDisplay
from rich.table import Column, Table
from rich.text import Text

from pipelines.bench.cells import evidence_cells
from zoo.card import MEASURED

if TYPE_CHECKING:
    from registry.entries import Entry
    from trainers.data.check import Checked

Row = TypeVar("Row")
STYLES = {
    "waiting": "dim",
    "cached": "cyan",
    "elsewhere": "magenta",
    "queued": "dim",
    "running": "yellow",
    "done": "green",
    "failed": "red",
    "stopped": "red",
    "pending": "dim",
    "cancelled": "red",
}

messages = Console(stderr=True, markup=False, emoji=False)
"""Everything that is not the answer: progress, warnings, errors."""
answers = Console(markup=False, emoji=False)
"""The answer of a verb. What people wrote, `[...]` and `:...:` too, is shown as it is; what has a style is a `Text`."""


def entry_table(entries: "Sequence[Entry]") -> Table:
    """One row an entry of the registry."""
    table = Table(name_column("name"), "aliases", "method", "numbers", "scores", "digest", box=SIMPLE_HEAD)
    for entry in entries:
        aliases, numbers = ", ".join(entry.aliases), f"{entry.parameters:,}"
        row = (entry.ref, aliases, f"{entry.method} ({entry.family})", numbers)
        table.add_row(*row, scores_text(entry.metrics), entry.digest[:8])
    return table


def capability_table() -> tuple[Table, str]:
    """Methods by families, and the reasons of what is refused."""
    from zoo.capabilities import overview
    from zoo.families import FAMILIES

    rows, reasons = overview()
    table = Table(name_column("method"), *FAMILIES, box=SIMPLE_HEAD)
    for row in rows:
        table.add_row(*row)
    return table, "\n".join(f"{number}. {reason}" for number, reason in enumerate(reasons, 1))


def name_column(header: str) -> Column:
    """People copy names: they are never cut."""
    return Column(header, no_wrap=True, overflow="fold")


def scores_text(scores: dict[str, float]) -> str:
    """The accuracy where it is known, else the loss; in one word each."""
    shown = "accuracy" if "accuracy" in scores else "loss"
    text = f"{shown} {scores[shown]:.3f}" if shown in scores else ""
    skipped = scores.get("skipped_samples", 0)
    return f"{text}, {skipped:.0f} bad samples skipped" if skipped else text


def field_table(content: dict[str, Any]) -> Table:
    """One row a field."""
    table = Table("field", "value", show_header=False)
    for name, value in content.items():
        if isinstance(value, dict):
            text = ", ".join(f"{key} {item}" for key, item in value.items())
        elif isinstance(value, list | tuple):
            text = ", ".join(map(str, value))
        else:
            text = f"{value:,}" if isinstance(value, int) else str(value)
        table.add_row(name, text)
    return table


def evidence_table(evidence: Sequence[dict[str, Any]]) -> Table:
    """How good models are that start from a learngene: one row a bench, start and size."""
    table = Table(*MEASURED, box=SIMPLE_HEAD)
    for row in evidence:
        table.add_row(*evidence_cells(row))
    return table


def data_table(checked: "Checked") -> Table:
    """One row a shard that is not as the index says, and the sum of all."""
    table = Table(name_column("shard"), "state", "samples", "what is wrong", box=SIMPLE_HEAD, show_footer=True)
    for shard in checked.wrong:
        state = Text(shard.state, "red")
        more = f" ... and {len(shard.problems) - 3} more" if len(shard.problems) > 3 else ""
        table.add_row(shard.name, state, f"{shard.samples:,}", "\n".join(shard.problems[:3]) + more)
    good = len(checked.shards) - len(checked.wrong)
    table.columns[0].footer = f"{len(checked.shards)} shards"
    table.columns[1].footer = f"{good} ok"
    table.columns[2].footer = f"{sum(shard.samples for shard in checked.shards):,}"
    table.columns[3].footer = "" if checked.listed else "extra shards cannot be seen here: HTTP has no listing"
    return table


@contextmanager
def live(table: Callable[[], Table], print_row: Callable[[Row], None]) -> Iterator[Callable[[Row], None]]:
    """Show rows while they change: a live table for people, `print_row` for each change where nobody watches."""
    if not messages.is_terminal:
        yield print_row
        return
    with Live(get_renderable=table, console=messages, refresh_per_second=4, transient=True):
        yield lambda _: None


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr for work in this process, if somebody watches; it is called with what is done, of how much."""
    if not messages.is_terminal:
        yield lambda done, of: None
        return
    with ProgressDisplay(console=messages, transient=True) as display:
        task = display.add_task(what, total=None)
        yield lambda done, of: display.update(task, completed=done, total=of)
