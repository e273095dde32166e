"""The verbs about learngenes and models: list, show, instantiate, pull, export, condense, methods."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.options import Json, Reference, print_json
from zoo.errors import BadInputError

if TYPE_CHECKING:
    from pipelines.models.making import Making


def list_(
    name: Annotated[str | None, typer.Argument(help="Only versions of this name.", show_default=False)] = None,
    ready: Annotated[bool, typer.Option("--ready", help="The ready models, instead of the learngenes.")] = False,
    as_json: Json = False,
) -> None:
    """List the learngenes, or the ready models, in the registry.

    Example: zoo list --json
    """
    from pipelines import show
    from pipelines.show.ready import ready_table
    from registry.entries import list_entries
    from registry.ready import list_ready

    if ready:
        models = list_ready(name)
        rows, table = [entry.to_json() for entry in models], ready_table(models)
        empty = "no ready model is registered; `zoo instantiate --sizes FILE --register NAME` does it"
    else:
        learngenes = list_entries(name)
        rows, table = [entry.to_json() for entry in learngenes], show.entry_table(learngenes)
        empty = "the registry is empty; `zoo run RECIPE` or `zoo condense` fills it"
        empty = f"no learngene here; see `zoo list {name} --ready`" if name else empty
    if as_json:
        print_json(rows)
    elif rows:
        show.answers.print(table)
    else:
        show.messages.print(empty)


def show_(
    ref: Reference,
    tree: Annotated[
        bool, typer.Option("--tree", help="Also what it was made from, down to the data, and what was made from it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show one learngene (what it is, which sizes it gives, where it comes from, how good it is) or ready model.

    Example: zoo show vit-cifar10.weit@champion
    """
    from pipelines import show, verbs
    from pipelines.models.making import describe_ready
    from pipelines.show.lineage import print_learngene

    if ready := describe_ready(ref):
        if tree:
            raise BadInputError(f"--tree: {ref} is a ready model; its learngene {ready['parent_ref']} has a tree")
        print_json(ready) if as_json else show.answers.print(show.field_table(ready))
        return
    content = verbs.describe_learngene(ref, tree=tree)
    if as_json:
        print_json(content)
    else:
        print_learngene(content)


def instantiate(
    ref: Reference,
    out: Annotated[
        Path, typer.Option(help="Folder of the ready model; with --sizes, of a folder for each.", show_default=False)
    ],
    depth: Annotated[int | None, typer.Option(help="Number of blocks.", show_default=False)] = None,
    width: Annotated[int | None, typer.Option(help="Channels.", show_default=False)] = None,
    heads: Annotated[
        int | None, typer.Option(help="Attention heads.", show_default="as wide as the learngene's")
    ] = None,
    mlp: Annotated[int | None, typer.Option(help="MLP hidden units.", show_default="the learngene's ratio")] = None,
    sizes: Annotated[
        Path | None,
        typer.Option(help="Many models at once: a file (YAML) with their sizes or budgets.", show_default=False),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Where --sizes runs: 'local', 'auto', or HOST:PORT of a running Ray.", show_default="local"),
    ] = None,
    register: Annotated[
        str | None,
        typer.Option(help="Register ready models under this name, as NAME.ready.", show_default=False),
    ] = None,
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
    """Make a ready model of any legal size, as a folder that timm or transformers load by themselves; or many of them.

    Example: zoo instantiate vit-cifar10.weit@champion --depth 8 --width 128 --data webdataset:../shared/data/cifar10
    --fit-steps 200 --out ready/
    """
    from pipelines import show
    from pipelines.models import making

    fit = making.Fit(steps=fit_steps, lr=fit_lr, batch=fit_batch, seed=seed, calibrate=calibrate)
    how = making.Making(making.head_fields(tuple(head or ())), data, fit)
    if sizes is not None:
        if given := [name for name, value in _size_options(depth, width, heads, mlp).items() if value is not None]:
            raise BadInputError(f"{given[0]}: --sizes says the sizes; leave one of them out")
        _instantiate_many(ref, sizes, how, out, address or "local", register, as_json=as_json)
        return
    if depth is None or width is None:
        missing = "--depth" if depth is None else "--width"
        raise BadInputError(f"{missing}: missing; give --depth and --width, or --sizes")
    if address is not None:
        raise BadInputError("--address: a single model is made in this process; legal only with --sizes")
    content = making.make_model(ref, (depth, width, heads, mlp), how, out, register)
    if as_json:
        print_json(content)
    else:
        show.answers.print(show.field_table(content))


def _size_options(depth: int | None, width: int | None, heads: int | None, mlp: int | None) -> dict[str, int | None]:
    return {"--depth": depth, "--width": width, "--heads": heads, "--mlp": mlp}


def _instantiate_many(
    ref: str, sizes: Path, how: "Making", out: Path, address: str, name: str | None, *, as_json: bool
) -> None:
    from pipelines import show
    from pipelines.models.fan_out import instantiate_sizes
    from pipelines.show.ready import live_rows, rows_table

    rows = instantiate_sizes(ref, sizes, how, out, address=address, name=name, shown=live_rows)
    if as_json:
        print_json([row.to_json() for row in rows])
    else:
        show.answers.print(rows_table(rows))
    if any(row.state == "failed" for row in rows):
        raise typer.Exit(1)


def pull(
    ref: Annotated[str, typer.Argument(help="NAME, NAME@alias or NAME:version.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(help="Copy it into this folder.", show_default="the cache of this machine")
    ] = None,
    as_json: Json = False,
) -> None:
    """Fetch a learngene or a ready model from the registry, verified, and print its folder.

    Example: zoo pull vit-cifar10.weit.ready@edge --out model/
    """
    from pipelines.models.making import pull_folder

    folder = pull_folder(ref, out)
    if as_json:
        print_json({"folder": str(folder)})
    else:
        print(folder)


def export(
    folder: Annotated[
        Path, typer.Argument(help="A ready or trained model of timm or transformers.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="The file; what it ends with says the format: .onnx.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Write a model in a format of other programs: one ONNX file, compared with the model by onnxruntime.

    Example: zoo export ready/ --out ready.onnx
    """
    from pipelines.models.making import export_model

    difference = export_model(folder, out)
    if as_json:
        print_json({"out": str(out), "difference": difference})
    else:
        print(f"{out}: outputs differ from torch's by {difference:.1e} of the largest")


def condense(
    checkpoint: Annotated[Path, typer.Argument(help="A folder of timm or transformers.", show_default=False)],
    name: Annotated[str, typer.Option(help="Register the learngene under this name.", show_default=False)],
    method: Annotated[str, typer.Option(help="A closed-form method.")] = "front",
    overrides: Annotated[list[str] | None, typer.Option("--set", help="An option of the method: keep=0.5.")] = None,
    as_json: Json = False,
) -> None:
    """Make a learngene of trained weights, without training and without a recipe.

    By any method of `zoo methods` but `kronecker`, which is trained.

    Example: zoo condense deit-small/ --method front --set keep=0.5 --name deit.front
    """
    from pipelines import show
    from pipelines.models import making

    entry = making.condense_folder(checkpoint, method, tuple(overrides or ()), name)
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
