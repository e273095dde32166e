"""What the verbs share: arguments with their help, and the answer as JSON."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

RecipePath = Annotated[Path, typer.Argument(help="A recipe (YAML).", show_default=False)]
Sets = Annotated[list[str] | None, typer.Option("--set", help="Override a field: data.path=shards (repeatable).")]
Address = Annotated[str, typer.Option(help="Where: 'local' (embedded Ray), 'auto', or HOST:PORT of a running Ray.")]
Profile = Annotated[
    Path | None, typer.Option(help="A file with the resources of stages, which go before those of the recipe.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
Reference = Annotated[
    str, typer.Argument(help="NAME, NAME@alias, NAME:version, or a learngene's folder.", show_default=False)
]


def print_json(content: Any) -> None:
    """Print an answer for programs."""
    print(json.dumps(content, indent=2, default=str))
