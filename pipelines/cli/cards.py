"""The verb about cards."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import Json, Reference, print_json


def card(
    ref: Reference,
    out: Annotated[
        Path | None, typer.Option(help="Write it to this folder, with the curves of its benches.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the model card of a learngene, with its lineage, its cost and what benches measured by now (Markdown).

    Example: zoo card vit-cifar10.weit@champion --out card/
    """
    from pipelines import show
    from pipelines.models import cards

    if out is None:
        text = cards.card_of(ref)
        print_json({"card": text}) if as_json else print(text, end="")
        return
    files = cards.write_card(ref, out)
    if as_json:
        print_json({"out": str(out), "files": files})
    else:
        show.answers.print(f"{out}: {', '.join(files)}", highlight=False)
