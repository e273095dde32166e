"""What people see: tables of stages, entries and learngenes, by rich."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress import Progress as ProgressDisplay
from rich.progress_bar import ProgressBar
from rich.table import Table

from pipelines.runner import OnChange, StageStatus, refresh
from pipelines.store import Store

if TYPE_CHECKING:
    from registry.entries import Entry
    from trainers.loop import Progress

STYLES = {"waiting": "dim", "cached": "cyan", "running": "yellow", "done": "green", "failed": "red"}

messages = Console(stderr=True)
"""Everything that is not the answer: progress, warnings, errors."""
answers = Console()
"""The answer of a verb."""


def stage_table(rows: Sequence[StageStatus]) -> Table:
    """One row a stage."""
    table = Table("stage", "does", "state", "progress", "step", "scores", "seconds", "key")
    for row in rows:
        bar: RenderableType = ""
        if row.state == "running" or (row.state == "waiting" and row.step):
            bar = ProgressBar(total=row.total or None, completed=row.step, width=20, pulse=not row.total)
        step = f"{row.step}/{row.total}" if row.total and row.state not in ("cached", "done") else ""
        seconds = f"{row.seconds:.1f}" if row.seconds else ""
        state = "to resume" if row.state == "waiting" and row.step else row.state
        styled = f"[{STYLES[row.state]}]{state}[/]"
        table.add_row(row.name, row.run, styled, bar, step, scores_text(row.scores), seconds, row.key[:12])
    return table


@contextmanager
def live_stages(rows: list[StageStatus], store: Store) -> Iterator[OnChange]:
    """Show the stages while they run: a live table for people, one line a change where nobody watches."""
    if not messages.is_terminal:
        yield _print_change
        return

    def current() -> Table:
        for row in rows:
            if row.state == "running":
                refresh(row, store)
        return stage_table(rows)

    with Live(get_renderable=current, console=messages, refresh_per_second=4):
        yield lambda _: None


def entry_table(entries: "Sequence[Entry]") -> Table:
    """One row an entry of the registry."""
    table = Table("name", "version", "aliases", "family", "method", "numbers", "scores", "gives", "digest")
    for entry in entries:
        scores = {name: value for name, value in entry.metrics.items() if name != "parameters"}
        table.add_row(
            entry.name,
            str(entry.version),
            ", ".join(entry.aliases),
            entry.family,
            entry.method,
            f"{entry.parameters:,}",
            scores_text(scores),
            str(entry.legal),
            entry.digest[:12],
        )
    return table


def scores_text(scores: dict[str, float]) -> str:
    """Scores in one short line."""
    return ", ".join(f"{name} {value:.3f}" for name, value in scores.items())


def _print_change(row: StageStatus) -> None:
    messages.print(f"{row.name}: {row.state} {scores_text(row.scores)}".rstrip(), highlight=False)


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


@contextmanager
def progress_bar(what: str, total: int) -> Iterator[Callable[["Progress"], None]]:
    """A bar on stderr for one training in this process."""
    with ProgressDisplay(console=messages, transient=True) as display:
        task = display.add_task(what, total=total)
        yield lambda progress: display.update(task, completed=progress.step)
