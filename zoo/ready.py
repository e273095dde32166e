"""`Ready`: what the folder of a ready model says of where it comes from, and the check of its files.

It is `ready.json` beside the files of timm or transformers, which do not look at it. The digest of a ready model is
that of its files; the card (`README.md`) is for people and not part of it.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, NonNegativeInt, StringConstraints, ValidationError

from zoo.architecture import Architecture
from zoo.errors import IntegrityError, NotFoundError
from zoo.files import digest_file, digest_json, write_json
from zoo.size import Size
from zoo.untrusted import digest_plain, read_plain, strict_json

READY, CARD = "ready.json", "README.md"
SCHEMA = 1
READY_BYTES = 2**22
"""The most that `ready.json` may have."""
Sha = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$")]


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
    parameters: NonNegativeInt
    flops: NonNegativeInt
    options: dict[str, Any]
    scores: dict[str, FiniteFloat]
    files: Annotated[dict[FileName, Sha], Field(min_length=1)]

    @property
    def digest(self) -> str:
        """What identifies the model: SHA-256 (hex) over the names and digests of its files."""
        return digest_json(self.files)

    @property
    def most_bytes(self) -> int:
        """What one of its files may have at most: all parameters and as many other numbers, a tokenizer."""
        return 16 * self.parameters + 2**26

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
    for name, promised in ready.files.items():
        path = folder / name
        try:
            found = digest_plain(path, ready.most_bytes)
        except FileNotFoundError:
            raise IntegrityError(f"{path}: missing; the ready model is incomplete") from None
        if found != promised:
            raise IntegrityError(f"{path}: digest {found[:12]}..., {READY} says {promised[:12]}...")
    return ready


def read_ready(folder: Path) -> Ready:
    """Read and check `ready.json` alone; errors as in `verify_ready`."""
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
