"""The `zoo` command line. For `--help` only this package is imported; verbs import what they need when they run.

Exit codes: 0 done, 2 bad input, 3 not found, 4 integrity, 5 gate refused, 130 interrupted (the same
command goes on from the last checkpoint), 1 anything else.
"""

import sys

import typer

from pipelines.cli import cards, data, integrity, jobs, models, operate, recipes, registry
from zoo.errors import ZooError

INTERRUPTED = 130
VERBS = {
    "Build": (recipes.demo, recipes.run, recipes.plan, models.condense, recipes.bench, models.methods),
    "Find and use": (
        models.list_,
        models.show_,
        registry.find,
        registry.solve,
        models.instantiate,
        models.pull,
        models.export,
        cards.card,
    ),
    "Operate the registry": (
        registry.promote,
        registry.rollback,
        registry.history,
        integrity.verify,
        integrity.sign,
        integrity.migrate,
        operate.gc,
        operate.doctor,
        operate.role,
        operate.moved,
    ),
    "Cluster": (jobs.status, jobs.logs, jobs.cancel, recipes.schedule),
}
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="From one training run to models of any size: build learngenes, find them, make models from them.",
)
for _panel, _verbs in VERBS.items():
    for _verb in _verbs:
        app.command(_verb.__name__.rstrip("_"), rich_help_panel=_panel)(_verb)
app.add_typer(data.app, name="data", rich_help_panel="Build")


def main() -> None:
    """The console script."""
    try:
        app()
    except ZooError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except SystemExit as end:
        if end.code == INTERRUPTED:
            print("interrupted; the same command goes on where it was", file=sys.stderr)
        raise
