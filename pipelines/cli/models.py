"""The verbs about learngenes and models: list, show, instantiate, condense, methods."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import Json, Reference, print_json


def list_(
    name: Annotated[str | None, typer.Argument(help="Only versions of this name.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """List the learngenes in the registry.

    Example: zoo list --json
    """
    from pipelines import show
    from registry.entries import list_entries

    entries = list_entries(name)
    if as_json:
        print_json([entry.to_json() for entry in entries])
    elif entries:
        show.answers.print(show.entry_table(entries))
    else:
        show.messages.print("the registry is empty; `zoo run RECIPE` or `zoo condense` fills it")


def show_(
    ref: Reference,
    tree: Annotated[
        bool, typer.Option("--tree", help="Also what it was made from, down to the data, and what was made from it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show one learngene: what it is, which sizes it gives, where it comes from, how good it is.

    Example: zoo show vit-cifar10.weit@champion
    """
    from pipelines import lineage_tables, verbs

    content = verbs.describe_learngene(ref, tree=tree)
    if as_json:
        print_json(content)
    else:
        lineage_tables.print_learngene(content)


def instantiate(
    ref: Reference,
    depth: Annotated[int, typer.Option(help="Number of blocks.", show_default=False)],
    width: Annotated[int, typer.Option(help="Channels.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder of the ready model.", show_default=False)],
    heads: Annotated[
        int | None, typer.Option(help="Attention heads.", show_default="as wide as the learngene's")
    ] = None,
    mlp: Annotated[int | None, typer.Option(help="MLP hidden units.", show_default="the learngene's ratio")] = None,
    head: Annotated[
        list[str] | None,
        typer.Option(
            help="A new use, with a random head: num_classes=5 (repeatable; YAML values).", show_default=False
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="'digits', 'webdataset:FOLDER' or 'text:PATH': data to fit and score the model on."),
    ] = None,
    fit_steps: Annotated[int, typer.Option(help="Fit the scalers to this size for so many steps.", min=0)] = 0,
    fit_lr: Annotated[float, typer.Option(help="Learning rate of the fit.", min=1e-12)] = 2e-3,
    fit_batch: Annotated[int, typer.Option(help="Batch of the fit.", min=1)] = 128,
    calibrate: Annotated[
        int,
        typer.Option(help="Mend in closed form, on so many training samples, what the change of size upset.", min=0),
    ] = 0,
    seed: Annotated[int, typer.Option(help="Order of the data in the fit, random start of a new head.")] = 0,
    as_json: Json = False,
) -> None:
    """Make a ready model of any legal size, as a folder that timm or transformers load by themselves.

    Example: zoo instantiate vit-cifar10.weit@champion --depth 8 --width 128 --data webdataset:../shared/data/cifar10
    --fit-steps 200 --out ready/
    """
    from pipelines import models, show

    fit = models.Fit(steps=fit_steps, lr=fit_lr, batch=fit_batch, seed=seed, calibrate=calibrate)
    content = models.make_model(ref, (depth, width, heads, mlp), tuple(head or ()), data, fit, out)
    if as_json:
        print_json(content)
    else:
        show.answers.print(show.field_table(content))


def condense(
    checkpoint: Annotated[Path, typer.Argument(help="A folder of timm or transformers.", show_default=False)],
    name: Annotated[str, typer.Option(help="Register the learngene under this name.", show_default=False)],
    method: Annotated[str, typer.Option(help="A closed-form method.")] = "front",
    overrides: Annotated[list[str] | None, typer.Option("--set", help="An option of the method: keep=0.5.")] = None,
    as_json: Json = False,
) -> None:
    """Make a learngene of trained weights, without training and without a recipe (`zoo methods` lists them).

    Example: zoo condense deit-small/ --method front --set keep=0.5 --name deit.front
    """
    from pipelines import models, show

    entry = models.condense_folder(checkpoint, method, tuple(overrides or ()), name)
    if as_json:
        print_json(entry.to_json())
    else:
        show.answers.print(show.entry_table([entry]))


def methods(as_json: Json = False) -> None:
    """What every method can do with every family: shrink and grow depth (d- d+) and width (w- w+), or why not.

    Example: zoo methods
    """
    from pipelines import show
    from zoo.capabilities import capabilities

    if as_json:
        print_json([cell.__dict__ for cell in capabilities()])
    else:
        show.answers.print(*show.capability_table())
