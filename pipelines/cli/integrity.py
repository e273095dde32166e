"""The verbs about trust in what the registry holds: verify, sign, migrate."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import Json, Reference, print_json
from zoo.errors import BadInputError, IntegrityError


def verify(
    refs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[REF|FOLDER]...", help="NAME, NAME@alias, NAME:version, or folders."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every version of the registry.")] = False,
    as_json: Json = False,
) -> None:
    """Check learngenes and ready models where they lie, all bytes: exit code 4 if anything is wrong. Nothing is copied.

    Checked are the schema, the digest, the tensors and the tokenizer, whether the registry says the same, and, where
    ZOO_TRUSTED_KEYS is set, the signatures. Versions that others made are named, and nothing wrong.

    Example: zoo verify --all --json
    """
    from pipelines import show
    from pipelines.show.registry import verified_table
    from registry.verify import verify_all, verify_refs

    if bool(refs) == everything:
        raise BadInputError(
            "verify: name learngenes or ready models, or --all for every version of the registry (not both)"
        )
    with show.progress_bar("verify") as progress:
        checked = verify_all(progress) if everything else verify_refs(refs or [], progress)
    if as_json:
        print_json([row.to_json() for row in checked])
    else:
        show.answers.print(verified_table(checked))
    if wrong := [row.what for row in checked if row.wrong]:
        raise IntegrityError(f"{len(wrong)} of {len(checked)} do not hold: {', '.join(wrong[:20])}")


def sign(
    ref: Reference,
    key: Annotated[
        Path | None,
        typer.Option(help="A private ed25519 key (PEM).", show_default="that of ZOO_SIGNING_KEY"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a learngene or a ready model, and vouch for it with your key: signature.json beside it. Others' stay.

    Keys are made with `openssl genpkey -algorithm ed25519 -out key.pem`; `openssl pkey -in key.pem -pubout` gives the
    public one.

    Example: zoo sign vit-cifar10.weit@champion --key key.pem
    """
    from pipelines import show
    from registry.verify import check_any, locate_any
    from zoo.signatures import sign as write_signature
    from zoo.signatures import signing_key

    private = signing_key(key)
    target = locate_any(ref)
    folder = target if isinstance(target, Path) else target.folder
    digest, signed, context = check_any(target, folder)
    content = {"folder": str(folder), "digest": digest, "key": write_signature(folder, signed, private, context)}
    if as_json:
        print_json(content)
    else:
        show.answers.print(show.field_table(content))


def migrate(
    ref: Reference,
    out: Annotated[Path, typer.Option(help="Folder of the new learngene.", show_default=False)],
    name: Annotated[
        str | None, typer.Option(help="Register it as a version of this name, its candidate.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Bring a learngene of an older manifest schema up to date: a new learngene, whose first parent is the old one.

    A version of the registry hands its scores and its tags on to the new one.

    Example: zoo migrate vit-cifar10.weit:1 --out new/ --name vit-cifar10.weit
    """
    from pipelines import show
    from pipelines.models.migration import migrate as bring_up_to_date

    content = bring_up_to_date(ref, out, name)
    if as_json:
        print_json(content)
    else:
        show.answers.print(show.field_table(content))
