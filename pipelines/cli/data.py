"""The verbs about data: pack, check."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import Json, print_json

app = typer.Typer(no_args_is_help=True, help="Shards with an index, for data of any size in any place.")


@app.command()
def pack(
    source: Annotated[Path, typer.Argument(help="A folder with the parts of the data.", show_default=False)],
    out: Annotated[Path, typer.Option(help="A new folder for shards and index.", show_default=False)],
    train: Annotated[str, typer.Option(help="Which names in SOURCE are training data.")] = "train*",
    test: Annotated[str, typer.Option(help="Which names in SOURCE are test data.")] = "test*",
    shard_mb: Annotated[int, typer.Option(help="About how large a shard becomes (10^6 bytes).", min=1)] = 256,
    image: Annotated[str, typer.Option(help="Parquet: the column of the images.")] = "image",
    label: Annotated[str, typer.Option(help="Parquet: the column of the labels.")] = "label",
    as_json: Json = False,
) -> None:
    """Write shards and `index.json` from folders of images by class, Parquet tables, text files or tar shards.

    The same source gives the same bytes. Upload the folder as it is; `data.path` may then be its address.

    Example: zoo data pack imagenet/ --test 'val*' --out shards/
    """
    from pipelines import show
    from trainers.data.pack import Packing, write_packed

    packing = Packing(train, test, shard_mb * 1_000_000, image, label)
    with show.progress_bar("pack") as report:
        index = write_packed(source, out, packing, report)
    content = {"out": str(out), "shards": len(index.shards), "samples": index.samples, "bytes": index.bytes}
    content |= {"classes": index.classes} if index.classes else {}
    if as_json:
        print_json(content)
    else:
        show.answers.print(show.field_table(content))


@app.command()
def check(
    path: Annotated[str, typer.Argument(help="A folder or an address with index.json.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Compare data with their index: every shard is read, every sample decoded. Exit code 4 if anything is wrong.

    Example: zoo data check s3://bucket/shards --json
    """
    from pipelines import show
    from trainers.data.check import check_data

    with show.progress_bar("check") as report:
        checked = check_data(path, report)
    if as_json:
        print_json(checked.to_json())
    else:
        show.answers.print(show.data_table(checked))
    checked.refuse_wrong()
