"""What people see of runs: how their stages are, and the jobs of a cluster; tables by rich."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.columns import Columns
from rich.console import RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipelines.run.status import OnChange, StageStatus
from pipelines.show import STYLES, live, messages, name_column, scores_text

if TYPE_CHECKING:
    from pipelines.run.jobs import JobStatus


def stage_table(rows: Sequence[StageStatus]) -> Table:
    """One row a stage."""
    table = Table(name_column("stage"), "does", "state", "progress", "scores", "seconds", "key", box=SIMPLE_HEAD)
    for row in rows:
        resumable = row.state == "waiting" and row.step > 0
        bar: RenderableType = ""
        if row.state in ("running", "elsewhere") or resumable:
            speed = f", {row.samples_per_second:,.0f} samples/s" if row.samples_per_second and not resumable else ""
            step = Text(f" {row.step}/{row.total}{speed}" if row.total else "")
            bar = Columns([ProgressBar(row.total or None, row.step, width=12, pulse=not row.total), step])
        state = Text("to resume" if resumable else row.state, STYLES[row.state])
        if row.holder:
            state.append(f"\n{row.holder}", "dim")
        seconds = f"{row.seconds:.1f}" if row.seconds else ""
        table.add_row(row.name, row.run, state, bar, scores_text(row.scores), seconds, row.key[:8])
    return table


def job_table(jobs: "Sequence[JobStatus]") -> Table:
    """One row a job."""
    table = Table(name_column("job"), "recipe", "state", "stages done", "started (UTC)", "seconds", box=SIMPLE_HEAD)
    for job in jobs:
        done = sum(row.state in ("cached", "done") for row in job.stages)
        state = Text(job.state, STYLES[job.state])
        started = job.started.replace("T", " ").removesuffix("+00:00")
        table.add_row(job.job, job.recipe, state, f"{done}/{len(job.stages)}", started, f"{job.seconds:.0f}")
    return table


def live_stages(rows: list[StageStatus]) -> AbstractContextManager[OnChange]:
    """Show the stages while they run."""
    return live(lambda: stage_table(rows), _print_change)


def _print_change(row: StageStatus) -> None:
    where = f"on {row.holder}" if row.holder else scores_text(row.scores)
    messages.print(f"{row.name}: {row.state} {where}".rstrip(), highlight=False)
