"""What people see of ready models: those that are being made, and those in the registry; tables by rich."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from pipelines.show import STYLES, live, messages, name_column, scores_text
from zoo.budget import count_text

if TYPE_CHECKING:
    from pipelines.models.fan_out import OnChange, Row
    from registry.ready import ReadyEntry


def rows_table(rows: "Sequence[Row]") -> Table:
    """One row a model that is wanted."""
    table = Table(
        name_column("model"), "size", "parameters", "state", "scores", "seconds", "registered", box=SIMPLE_HEAD
    )
    for row in rows:
        state = Text(row.state, STYLES["cached" if row.state == "kept" else row.state])
        if row.why:
            state.append(f"\n{short(row.why)}", "dim")
        seconds = f"{row.seconds:.1f}" if row.seconds else ""
        counts = str(row.size), count_text(row.parameters)
        table.add_row(row.name, *counts, state, scores_text(row.scores), seconds, row.entry)
    return table


def ready_table(entries: "Sequence[ReadyEntry]") -> Table:
    """One row a ready model in the registry."""
    counts = ("aliases", "size", "parameters", "scores")
    table = Table(name_column("name"), *counts, name_column("made of"), "digest", box=SIMPLE_HEAD)
    for entry in entries:
        table.add_row(
            entry.ref,
            ", ".join(entry.aliases),
            str(entry.size),
            count_text(entry.parameters),
            scores_text(entry.metrics),
            entry.parent_ref,
            entry.digest[:8],
        )
    return table


def live_rows(rows: "list[Row]") -> "AbstractContextManager[OnChange]":
    """Show the models while they are made."""
    return live(lambda: rows_table(rows), _print_row)


def short(why: str) -> str:
    """The last line of a message, which of a traceback is the error."""
    return why.strip().splitlines()[-1]


def _print_row(row: "Row") -> None:
    if row.state != "running":
        text = short(row.why) if row.why else row.entry or scores_text(row.scores)
        messages.print(f"{row.name}: {row.state} {text}".rstrip(), highlight=False)
