"""The verb about cards."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import Reference


def card(
    ref: Reference,
    out: Annotated[
        Path | None, typer.Option(help="Write it to this folder, with the curves of its benches.", show_default=False)
    ] = None,
) -> None:
    """Print the model card of a learngene, with its lineage, its cost and what benches measured by now (Markdown).

    Example: zoo card vit-cifar10.weit@champion --out card/
    """
    from pipelines import cards, show

    if out is None:
        print(cards.card_of(ref), end="")
    else:
        show.answers.print(f"{out}: {', '.join(cards.write_card(ref, out))}", highlight=False)
