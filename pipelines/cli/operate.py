"""The verbs of those who operate: gc, doctor, role, moved."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipelines.cli.options import Json, print_json
from zoo.errors import BadInputError, NotFoundError

if TYPE_CHECKING:
    from pipelines.artifacts.garbage import Report
    from registry.doctor import Check


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    days: Annotated[float, typer.Option(help="Keep what is younger, or was used since.", min=1)] = 30,
    newest: Annotated[int, typer.Option(help="Keep so many versions of every name.", min=1)] = 3,
    champions: Annotated[
        int | None,
        typer.Option(
            help="Keep so many former champions of every name for rollbacks.", min=1, show_default="all of them"
        ),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(help="Keep NAME, NAME:VERSION, NAME@alias, or the stages of RECIPE.yaml (repeatable)."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Delete what nobody needs any more: versions, stages, leftovers. What people chose stays, and what it was made of.

    Example: zoo gc --dry-run --days 60 --keep recipes/vit.yaml
    """
    from pipelines.artifacts.garbage import RECIPES, collect
    from registry.garbage import Policy

    recipes = tuple(Path(text) for text in keep or [] if text.endswith(RECIPES))
    refs = tuple(text for text in keep or [] if not text.endswith(RECIPES))
    if missing := next((path for path in recipes if not path.is_file()), None):
        raise NotFoundError(f"--keep: no recipe {missing}")
    report = collect(Policy(days=days, newest=newest, champions=champions, keep=refs), recipes, dry_run=dry_run)
    if as_json:
        print_json(report.to_json())
    else:
        _print_garbage(report)


def role(
    user: Annotated[str, typer.Argument(help="A user of the MLflow server.", show_default=False)],
    role: Annotated[Literal["reader", "builder", "promoter"], typer.Argument(help="What they may do.")],
    name: Annotated[str, typer.Argument(help="NAME, there or not yet.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Let a user of the server find and pull (reader), register (builder), or promote (promoter) versions of a name.

    Example: zoo role nightly builder vit-cifar10.weit
    """
    from pipelines import show
    from registry.roles import grant

    permissions = grant(user, role, name)
    if as_json:
        print_json(permissions)
    else:
        show.answers.print(show.field_table(permissions))


def moved(
    old: Annotated[Path, typer.Argument(help="Where the store was: /old/home/store.", show_default=False)],
    as_json: Json = False,
) -> None:
    """After a restore in another place: let the registry say that what was in the store OLD is in this one.

    Example: zoo moved /mnt/old/store
    """
    from pipelines import show
    from pipelines.artifacts.store import Store
    from registry.moved import move

    if not old.is_absolute():
        raise BadInputError(f"OLD: {str(old)!r} is not legal; it must begin with '/'")
    refs = move(old, Store.default().root)
    if as_json:
        print_json(refs)
    else:
        show.messages.print(f"{len(refs)} versions point to {Store.default().root} now", highlight=False)


def doctor(
    address: Annotated[
        str | None,
        typer.Option(
            help="Also ask a Ray: 'local', 'auto', HOST:PORT, or a job server http(s)://HOST:8265.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say whether this machine, its packages, store, registry and Ray are fit for work (exit code 1 if not).

    Example: zoo doctor --address http://head:8265
    """
    from dataclasses import asdict

    from pipelines.doctor import checks

    rows = checks(address)
    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        _print_checks(rows)
    if any(row.state == "failure" for row in rows):
        raise SystemExit(1)


def _print_checks(rows: "list[Check]") -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Column, Table
    from rich.text import Text

    from pipelines import show

    styles = {"ok": "green", "warning": "yellow", "failure": "red"}
    table = Table("check", "state", Column("found", overflow="fold"), "what to do", box=SIMPLE_HEAD)
    for row in rows:
        table.add_row(row.name, Text(row.state, styles[row.state]), row.found, row.advice)
    show.answers.print(table)


def _print_garbage(report: "Report") -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Column, Table

    from pipelines import show

    table = Table("kind", Column("what", overflow="fold"), "why", "days", "bytes", box=SIMPLE_HEAD)
    for item in report.gone:
        table.add_row(item.kind, item.what, item.why, f"{item.days:.0f}", f"{item.bytes:,}")
    if report.gone:
        show.answers.print(table)
    for item, reason in report.spared:
        show.messages.print(f"stays after all: {item.what}: {reason}", highlight=False)
    verb = "would go" if report.dry_run else "went"
    by_kind = ", ".join(f"{kind} {amount:,}" for kind, amount in report.bytes.items()) or "nothing"
    show.messages.print(f"{verb}: {sum(report.bytes.values()):,} bytes ({by_kind}); {len(report.kept)} versions stay")
