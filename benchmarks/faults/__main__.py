"""Let faults strike runs of a small recipe on a cluster of three hosts, and say which of them were survived.

Survived means: it ends with the bytes that the undisturbed run beside them ends with (within the stated
tolerance where the number of workers changes), with one version of each name in the registry, every point of a curve
once, and nothing temporary, no work and no lease in the store. Needs root, Linux and a PostgreSQL server.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.faults.bench import Outcome, strike, undisturbed
from benchmarks.faults.cluster import cluster, why_not
from benchmarks.faults.scenarios import FAULTS
from zoo.files import home

EPILOG = "Exit code: 0 when all were survived, 1 otherwise."
COLUMNS = ("", "fault", "survived", "time lost", "how it goes on", "learngenes differ by")


def main() -> None:
    """The command line."""
    args = _arguments()
    if reason := why_not():
        sys.exit(f"no hosts here: {reason}")
    chosen = [fault for fault in FAULTS if fault.name in (args.faults or [fault.name])]
    console = Console(stderr=True)
    with ExitStack() as stack:
        logs = args.out or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        running = stack.enter_context(cluster(home() / "cache/torch_extensions", logs / "logs"))
        baseline = undisturbed(running)
        console.print(f"undisturbed: {baseline.seconds:.0f} s")
        outcomes = []
        for fault in chosen:
            outcomes.append(strike(fault, baseline, args.outage))
            console.print(f"{fault.name}: {_row(outcomes[-1])}", highlight=False)
    _print(outcomes, baseline.seconds)
    if args.out:
        _write(args.out, outcomes, baseline.seconds)
    sys.exit(0 if all(outcome.survived for outcome in outcomes) else 1)


def _arguments() -> argparse.Namespace:
    names = ", ".join(f"{fault.name}: {fault.what}" for fault in FAULTS)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__, epilog=EPILOG)
    parser.add_argument("faults", nargs="*", choices=[[], *(f.name for f in FAULTS)], metavar="FAULT", help=names)
    parser.add_argument("--outage", type=float, default=60, help="seconds that something is away that comes back")
    parser.add_argument("--out", type=Path, help="folder for faults.md, faults.json and logs")
    return parser.parse_args()


def _row(outcome: Outcome) -> tuple[str, ...]:
    fault = outcome.fault
    how = "the same command again" if fault.again else "by itself"
    if not outcome.survived:
        return fault.name, fault.what, "no", "", outcome.why.splitlines()[0], ""
    return fault.name, fault.what, "yes", f"{outcome.lost:.0f} s", how, f"{outcome.difference:.0e}"


def _title(outcomes: Sequence[Outcome], usual: float) -> str:
    survived = sum(outcome.survived for outcome in outcomes)
    return f"{survived} of {len(outcomes)} faults survived; an undisturbed run takes {usual:.0f} s"


def _print(outcomes: Sequence[Outcome], usual: float) -> None:
    table = Table(*COLUMNS, title=_title(outcomes, usual))
    for outcome in outcomes:
        table.add_row(*_row(outcome), style=None if outcome.survived else "bold red")
    console = Console()
    console.width = max(console.width, 120)
    console.print(table)


def _write(folder: Path, outcomes: Sequence[Outcome], usual: float) -> None:
    lines = [COLUMNS, ["---"] * len(COLUMNS), *map(_row, outcomes)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    (folder / "faults.md").write_text(f"{_title(outcomes, usual)}\n\n{table}\n", encoding="utf-8")
    rows = [
        {"fault": o.fault.name, "what": o.fault.what, "survived": o.survived, "again": o.fault.again, "why": o.why}
        | ({"lost": o.lost, "difference": o.difference} if o.survived else {})
        for o in outcomes
    ]
    text = json.dumps({"undisturbed": usual, "rows": rows}, indent=2)
    (folder / "faults.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
