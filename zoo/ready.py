"""`Ready`: what the folder of a ready model says of where it comes from, and the check of its files.

It is `ready.json` beside the files of timm or transformers, which do not look at it. The digest of a ready model is
that of its files; `description` vouches for the rest of `ready.json` too, and is what is signed. The card (`README.md`)
is for people and part of neither.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    NonNegativeInt,
    StringConstraints,
    ValidationError,
    field_validator,
)

from zoo.architecture import Architecture
from zoo.errors import IntegrityError, NotFoundError
from zoo.files import SIGNATURE, digest_file, digest_json, write_json
from zoo.signatures import SIGNATURE_BYTES
from zoo.size import Size
from zoo.untrusted import (
    CARD,
    MOST,
    Sha,
    digest_plain,
    most_bytes,
    open_plain,
    read_pieces,
    read_plain,
    strict_json,
)

READY = "ready.json"
SCHEMA = 1
READY_BYTES = 2**22
"""The most that `ready.json` may have."""
BESIDE = {SIGNATURE: SIGNATURE_BYTES}
"""What belongs to a ready model though no digest of it vouches for it, and the most that it may have."""
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$")]
FILES, OTHER_BYTES = 64, 2**26
"""How many files a model may have, and the most that those may have which hold no tensors."""


class Ready(BaseModel):
    """Where a ready model comes from, how good it is, and the SHA-256 of each of its files.

    learngene, ref: the digest of the learngene that it started from, and what that was called; method: the learngene's.
    options: whatever else it follows from: a new head, data, how it was fitted.
    scores: on held-out samples, where data were given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = SCHEMA
    learngene: Sha
    ref: str
    family: str
    method: str
    config: dict[str, Any]
    size: Size
    parameters: Annotated[int, Field(ge=0, le=MOST)]
    flops: NonNegativeInt
    options: dict[str, Any]
    scores: dict[str, FiniteFloat]
    files: Annotated[dict[FileName, Sha], Field(min_length=1, max_length=FILES)]

    @field_validator("files")
    @classmethod
    def _are_of_the_model(cls, files: dict[str, str]) -> dict[str, str]:
        if ours := sorted({READY, CARD, SIGNATURE} & set(files)):
            raise ValueError(f"{ours[0]} lies beside the files of a model and is none of them")
        return files

    @property
    def digest(self) -> str:
        """What identifies the model: SHA-256 (hex) over the names and digests of its files."""
        return digest_json(self.files)

    @property
    def description(self) -> str:
        """What vouches for the model and for all that is said of it: SHA-256 (hex) of this as canonical JSON."""
        return digest_json(self.model_dump(mode="json"))

    @property
    def limits(self) -> dict[str, int]:
        """The most bytes of each of its files; of tensors: all parameters and as many other numbers."""
        return {name: most_bytes(2 * self.parameters) if _has_tensors(name) else OTHER_BYTES for name in self.files}

    def is_made_of(self, learngene: str, size: Size, options: dict[str, Any]) -> bool:
        """Whether making it again from these would make the same."""
        return (self.learngene, self.size, self.options) == (learngene, size, options)


def seal(folder: Path, arch: Architecture, **facts: Any) -> Ready:
    """Write `ready.json` beside the files of a model; `facts` are the fields that do not follow from them."""
    ready = Ready.model_validate(
        {
            "family": arch.family.name,
            "config": arch.config.model_dump(mode="json"),
            "size": arch.size,
            "parameters": arch.parameters(),
            "flops": arch.flops(),
            "files": {path.name: digest_file(path) for path in sorted(folder.iterdir()) if path.name != CARD},
            **facts,
        }
    )
    write_json(folder / READY, ready.model_dump(mode="json"))
    return ready


def verify_ready(folder: Path) -> Ready:
    """Check the folder of a ready model, without loading its weights.

    Raises:
        NotFoundError: there is no ready model in `folder`.
        IntegrityError: a file changed or is missing, or `ready.json` is none of ours.
    """
    ready = read_ready(folder)
    check_ready_files(folder, ready)
    for name, limit in ready.limits.items():
        found, promised = digest_plain(folder / name, limit), ready.files[name]
        if found != promised:
            raise IntegrityError(f"{folder / name}: digest {found[:12]}..., {READY} says {promised[:12]}...")
    return ready


def check_ready_files(folder: Path, ready: Ready) -> None:
    """Check that the files of a model are plain files, no larger than its parameters explain.

    Raises `IntegrityError` for one that is not, or is missing.
    """
    for name, limit in ready.limits.items():
        try:
            with open_plain(folder / name, limit):
                pass
        except FileNotFoundError:
            raise IntegrityError(f"{folder / name}: missing; the ready model is incomplete") from None
        if _has_tensors(name):
            read_pieces(folder / name, limit)


def _has_tensors(name: str) -> bool:
    return name.endswith(".safetensors")


def read_ready(folder: Path) -> Ready:
    """Read and check `ready.json` alone.

    Raises `NotFoundError` where there is none, `IntegrityError` where it is none of ours.
    """
    path = folder / READY
    try:
        return Ready.model_validate(strict_json(read_plain(path, READY_BYTES)))
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(f"{folder}: no ready model here ({READY} is missing)") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise IntegrityError(f"{path}: field {'.'.join(map(str, first['loc']))!r}: {first['msg']}") from error
    except ValueError as error:
        raise IntegrityError(f"{path}: not the description of a ready model ({error})") from error
