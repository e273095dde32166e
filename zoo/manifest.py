"""`Manifest`: what a learngene's folder says of itself, and the checks before anything of it is used.

The digest of a learngene is the SHA-256 of its canonical manifest, and the manifest holds the SHA-256 of the tensors:
one string proves all of it. The card (`README.md`) is for people and not part of the digest.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from zoo.errors import IntegrityError, NotFoundError
from zoo.files import SIGNATURE, digest_json
from zoo.methods import AnyMethod
from zoo.provenance import PROVENANCE, PROVENANCE_BYTES
from zoo.signatures import SIGNATURE_BYTES
from zoo.size import LegalSizes, Size
from zoo.untrusted import (
    MOST,
    check_extents,
    digest_plain,
    most_bytes,
    open_plain,
    read_header,
    read_plain,
    strict_json,
)

SCHEMA = 2
TENSORS, MANIFEST, TOKENIZER = "learngene.safetensors", "manifest.json", "tokenizer.json"
MANIFEST_BYTES, TOKENIZER_BYTES = 2**22, 2**26
"""The most that these files may have."""
BESIDE = {SIGNATURE: SIGNATURE_BYTES, PROVENANCE: PROVENANCE_BYTES}
"""What belongs to a learngene though no digest of it vouches for it, and the most that it may have."""


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
    parameters: Annotated[int, Field(ge=0, le=MOST)]

    @property
    def digest(self) -> str:
        """The learngene's digest: SHA-256 (hex) of this manifest as canonical JSON."""
        return digest_json(self.model_dump(mode="json"))


def verify(folder: Path) -> Manifest:
    """Check a learngene's folder without loading the tensors: first what costs little, then all bytes.

    Raises:
        NotFoundError: there is no learngene in `folder`.
        IntegrityError: bytes changed, another schema, a foreign or incomplete artifact, files that are none.
    """
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    for name, (expected, limit) in promised(manifest).items():
        if (found := digest_plain(folder / name, limit)) != expected:
            raise IntegrityError(f"{folder / name}: digest {found[:12]}..., the manifest says {expected[:12]}...")
    return manifest


def promised(manifest: Manifest) -> dict[str, tuple[str, int]]:
    """The files that a manifest vouches for: their digests, and the most bytes they may have."""
    files = {TENSORS: (manifest.tensors, most_bytes(manifest.parameters))}
    return files if manifest.tokenizer is None else files | {TOKENIZER: (manifest.tokenizer, TOKENIZER_BYTES)}


def check_files(folder: Path, manifest: Manifest) -> None:
    """Check that the files which a manifest promises are plain files, and no larger than it explains.

    Raises `IntegrityError` for one that is not, or is missing.
    """
    for name, (_, limit) in promised(manifest).items():
        try:
            with open_plain(folder / name, limit):
                pass
        except FileNotFoundError:
            raise IntegrityError(f"{folder / name}: missing; the learngene is incomplete") from None
    read_header(folder / TENSORS, manifest.parameters)


def read_manifest(folder: Path) -> Manifest:
    """Read and check `manifest.json` alone (the tensors are not looked at).

    Raises `NotFoundError` where there is none, `IntegrityError` for another schema or a field that is not legal.
    """
    content = read_content(folder)
    path, schema = folder / MANIFEST, content["schema_version"]
    if schema != SCHEMA:
        older = isinstance(schema, int) and schema < SCHEMA
        hint = "bring it up to date with `zoo migrate`" if older else "upgrade learngene-zoo"
        raise IntegrityError(f"{path}: schema_version {schema!r}; this learngene-zoo reads {SCHEMA}: {hint}")
    return parse_manifest(content, path)


def read_content(folder: Path) -> dict[str, Any]:
    """The plain values of `manifest.json`, of whatever schema.

    Raises `NotFoundError` where there is none, `IntegrityError` where it is no manifest.
    """
    path = folder / MANIFEST
    try:
        content = strict_json(read_plain(path, MANIFEST_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(f"{folder}: no learngene here ({MANIFEST} is missing)") from None
    except ValueError as error:
        raise IntegrityError(f"{path}: not a manifest of a learngene ({error})") from error
    if not isinstance(content, dict) or "schema_version" not in content:
        raise IntegrityError(f"{path}: not a manifest of a learngene (schema_version is missing)")
    return content


def parse_manifest(content: dict[str, Any], place: Path) -> Manifest:
    """A manifest from plain values, which `place` names in messages. Raises `IntegrityError` naming the field."""
    try:
        check_extents(content.get("size"), content.get("config"))
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise IntegrityError(f"{place}: field {field!r}: {first['msg']}") from error
    except ValueError as error:
        raise IntegrityError(f"{place}: {error}") from error
