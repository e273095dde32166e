"""`Manifest`: what a learngene's folder says of itself, and the checks before anything of it is used.

The digest of a learngene is the SHA-256 of its canonical manifest, and the manifest holds the SHA-256 of the tensors:
one string proves all of it. The card (`README.md`) is for people and not part of the digest.
"""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from zoo.errors import IntegrityError, NotFoundError
from zoo.files import digest_file, digest_json
from zoo.methods import AnyMethod
from zoo.size import LegalSizes, Size

SCHEMA = 2
TENSORS, MANIFEST, CARD, TOKENIZER = "learngene.safetensors", "manifest.json", "README.md", "tokenizer.json"


class Preprocessing(BaseModel):
    """How images become inputs: `(pixel / 255 - mean) / std`, one number a channel."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: tuple[float, ...]
    std: tuple[float, ...]


class Manifest(BaseModel):
    """What a learngene is: enough to check it, to expand it, and to say where it comes from.

    `size` is the size it was made at, `legal` the sizes it can give, `parents` the digests of what it was made from,
    `preprocessing` what images went through, `tokenizer` the SHA-256 of what made tokens of text, `tensors` the SHA-256
    of the tensors' file, `parameters` how many numbers that file holds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[2] = SCHEMA
    family: str
    config: dict[str, Any]
    size: Size
    method: AnyMethod
    legal: LegalSizes
    parents: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None
    tokenizer: str | None = None
    tensors: str
    parameters: int

    @property
    def digest(self) -> str:
        """The learngene's digest: SHA-256 (hex) of this manifest as canonical JSON."""
        return digest_json(self.model_dump(mode="json"))


def verify(folder: Path) -> Manifest:
    """Check a learngene's folder without loading the tensors.

    Raises:
        NotFoundError: there is no learngene in `folder`.
        IntegrityError: bytes changed, a newer schema, a foreign or incomplete artifact.
    """
    manifest = read_manifest(folder)
    for name, promised in ((TENSORS, manifest.tensors), (TOKENIZER, manifest.tokenizer)):
        if promised is None:
            continue
        path = folder / name
        if not path.is_file():
            raise IntegrityError(f"{path}: missing; the learngene is incomplete")
        if (found := digest_file(path)) != promised:
            raise IntegrityError(f"{path}: digest {found[:12]}..., the manifest says {promised[:12]}...")
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """Read and check `manifest.json` alone (the tensors are not looked at); errors as in `verify`."""
    path = folder / MANIFEST
    if not path.is_file():
        raise NotFoundError(f"{folder}: no learngene here ({MANIFEST} is missing)")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        schema = content["schema_version"]
        if schema != SCHEMA:
            raise IntegrityError(
                f"{path}: schema_version {schema!r}; this version of learngene-zoo reads {SCHEMA}. "
                "Upgrade learngene-zoo if the number is higher, make the learngene again if it is lower"
            )
        return Manifest.model_validate(content)
    except (
        ValueError,
        KeyError,
        TypeError,
    ) as error:  # no JSON, no schema_version, not an object, wrong fields
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise IntegrityError(f"{path}: field {field!r}: {first['msg']}") from error
        raise IntegrityError(f"{path}: not a manifest of a learngene ({error})") from error
