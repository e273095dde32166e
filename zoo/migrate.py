"""Manifests of older schemas, brought up to date one step at a time; a step is a pure function of plain values.

Another manifest has another digest: what comes out is a new learngene, with the old one as its first parent.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from zoo.card import learngene_card
from zoo.errors import BadInputError, IntegrityError
from zoo.files import atomic_folder, digest_json, write_json
from zoo.learngene import check
from zoo.manifest import MANIFEST, SCHEMA, Manifest, check_files, parse_manifest, promised, read_content
from zoo.untrusted import CARD, copy_plain

Content = dict[str, Any]


def ranges(old: Content) -> Content:
    """1 to 2: legal sizes are ranges, and say what bounds them. (No family of schema 1 had a tokenizer.)"""
    legal, method = old["legal"], old["method"]
    why = f"tiles of {method['tile']}" if method["name"] == "kronecker" else ""
    new = {
        "width": {"multiple": legal["width_multiple"]},
        "mlp": {"multiple": legal["mlp_multiple"]},
        "head_dim": legal["head_dim"],
        "mlp_ratio": legal["mlp_ratio"],
        "why": why,
    }
    return {**old, "schema_version": 2, "legal": new}


MIGRATIONS: dict[int, Callable[[Content], Content]] = {1: ranges}
"""By the schema that a step starts from."""


def migrate(folder: Path, out: Path) -> Manifest:
    """Write the learngene in `folder`, of an older schema, to `out` in today's; `folder` stays as it is.

    Raises:
        NotFoundError: no learngene in `folder`.
        BadInputError: it has today's schema.
        IntegrityError: a schema that nobody can bring up to date, or a learngene that is not whole.
    """
    old, place = read_content(folder), folder / MANIFEST
    manifest = parse_manifest(_up_to_date(old, place), place)
    check_files(folder, manifest)
    with atomic_folder(out) as new:
        try:
            for name, (_, limit) in promised(manifest).items():
                copy_plain(folder / name, new / name, limit)
            write_json(new / MANIFEST, manifest.model_dump(mode="json"))
            (new / CARD).write_text(learngene_card(manifest), encoding="utf-8")
            check(new)
        except IntegrityError as error:
            raise type(error)(str(error).replace(str(new), str(folder))) from error
    return manifest


def _up_to_date(old: Content, place: Path) -> Content:
    content, schema = old, old["schema_version"]
    if schema == SCHEMA:
        raise BadInputError(f"{place}: schema_version {schema} is today's; there is nothing to migrate")
    while schema != SCHEMA:
        if not isinstance(schema, int) or schema not in MIGRATIONS:
            raise IntegrityError(f"{place}: schema_version {schema!r} cannot be migrated; legal: {known()}")
        try:
            content = MIGRATIONS[schema](content)
        except (KeyError, TypeError) as error:
            raise IntegrityError(f"{place}: not a manifest of schema {schema} ({error!r})") from error
        schema = content["schema_version"]
    return {**content, "parents": [digest_json(old), *old.get("parents", [])]}


def known() -> str:
    """The schemas that can be migrated, for messages."""
    return ", ".join(map(str, sorted(MIGRATIONS)))
