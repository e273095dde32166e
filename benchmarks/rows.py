"""What every benchmark prints: rows, as a table or as JSON; and the command line that all scripts share."""

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from typing import NoReturn

from zoo.machine import processor

SEED = 0
"""Of everything random in a benchmark."""

THREADS = 1
"""CPU threads. A worker of a recipe gets one core; and the CPU time of one thread says the same thing on a machine
that is busy with other work, while threads that wait for one another do not."""

EPILOG = "Exit code: 0 when every row meets its target, 1 otherwise. Run from the root of the repository."


@dataclass(frozen=True)
class Row:
    """One measured claim: `ours` beside `baseline`, both in `unit`; `ok` when `ratio` meets `target`."""

    name: str
    ours: float
    baseline: float
    ratio: float
    target: float
    ok: bool
    unit: str


def at_most(target: float, *, name: str, ours: float, baseline: float, unit: str, ratio: float | None = None) -> Row:
    """A claim that `ours / baseline` is at most `target`. Give `ratio` where it was measured pair by pair."""
    ratio = ours / baseline if ratio is None else ratio
    return Row(name, ours, baseline, ratio, target, ratio <= target, unit)


def main(benchmark: Callable[[], list[Row]], description: str | None) -> NoReturn:
    """The command line of a benchmark: measure, print the rows, exit."""
    parser = argparse.ArgumentParser(
        description=description, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one list of rows and nothing else on stdout")
    as_json = parser.parse_args().json
    import torch

    torch.set_num_threads(THREADS)
    header = conditions()
    if as_json:
        say(header)
    with redirect_stdout(sys.stderr):  # whatever a library prints is not a row
        rows = benchmark()
    print_json(rows) if as_json else print_table(rows, header)
    sys.exit(0 if all(row.ok for row in rows) else 1)


def say(text: str) -> None:
    """Progress and spread, for the person who waits."""
    print(text, file=sys.stderr, flush=True)


def conditions() -> str:
    """What numbers depend on besides the code, in one line."""
    import torch

    hardware = torch.cuda.get_device_name() if torch.cuda.is_available() else processor()
    return (
        f"{hardware}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start; Python "
        f"{platform.python_version()}, torch {torch.__version__}, {THREADS} CPU thread; seed {SEED}"
    )


def print_json(rows: list[Row]) -> None:
    """One list of objects."""
    print(json.dumps([asdict(row) for row in rows], indent=2, allow_nan=False))


def print_table(rows: list[Row], caption: str) -> None:
    """The same for people."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="learngene-zoo benchmarks", caption=caption)
    table.add_column("name", no_wrap=True)
    for column in ("ours", "baseline", "unit", "ratio", "target", "ok"):
        table.add_column(column, justify="left" if column == "unit" else "right", no_wrap=True)
    for row in rows:
        verdict = "[green]yes[/]" if row.ok else "[bold red]no[/]"
        numbers = (f"{row.ours:.1f}", f"{row.baseline:.1f}", row.unit, f"{row.ratio:.3f}", f"<= {row.target:.2f}")
        table.add_row(row.name, *numbers, verdict)
    console = Console()
    console.width = max(console.width, 100)  # names are never cut, also not in a log file
    console.print(table)
