"""What a recipe says about data, and the identity of the data it names (the content, never the path)."""

import fnmatch
import json
import time
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from zoo.errors import BadInputError, NotFoundError
from zoo.files import digest_file, digest_json, home, write_json

FORMAT = 1  # raise it when the same spec comes to mean other samples: caches and stage keys change with it
SHARD_ENDINGS = (".tar", ".tar.gz", ".tgz")

Split = Literal["train", "validation", "test"]
Part = Literal["train", "test"]  # what lies in the files; `validation` is cut from `train`


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Augment(_Model):
    """Training images are padded by `crop` zero pixels and cut at random; `flip` mirrors half of them."""

    flip: bool = False
    crop: int = Field(default=0, ge=0)


class _Common(_Model):
    """Fields of every kind.

    limit: only the first so many training samples, for quick runs (`validation` is cut from these).
    validation: the share of the training samples that is set aside for tuning and for gates.
    """

    limit: int | None = Field(default=None, ge=1)
    validation: float = Field(default=0.1, ge=0, le=0.5)


class Digits(_Common):
    """The digits that ship with scikit-learn: 1,797 grey images of 8x8 pixels; a fifth of them is `test`."""

    classes: ClassVar[int] = 10
    channels: ClassVar[int] = 1
    image_size: ClassVar[int] = 8

    kind: Literal["digits"] = "digits"
    augment: Augment = Augment(crop=1)


class WebDataset(_Common):
    """A folder of tar shards (`.tar`, `.tar.gz`); a sample is `<key>.jpg|jpeg|png|webp` and `<key>.cls`.

    train, test: patterns for the names of the shards in the folder `path`.
    image_size: images of another size are resized by their short side and cut in the centre.
    max_bad: the share of the samples of a part that may be undecodable or lost with a damaged shard.
    max_decoded_gb: the largest decoded array (in 10^9 bytes) that may be written to the cache of a node.
    """

    kind: Literal["webdataset"] = "webdataset"
    path: str
    image_size: int = Field(ge=1)
    classes: int = Field(ge=2)
    channels: Literal[1, 3] = 3
    train: str = "train-*.tar*"
    test: str = "test-*.tar*"
    max_bad: float = Field(default=0.0, ge=0, lt=1)
    max_decoded_gb: float = Field(default=64.0, gt=0)
    augment: Augment = Field(default_factory=lambda spec: Augment(flip=True, crop=spec["image_size"] // 8))


Data = Annotated[Digits | WebDataset, Field(discriminator="kind")]


def identity(spec: Digits | WebDataset) -> dict[str, Any]:
    """Plain JSON that is equal exactly when the samples (and their augmentation) are: for the keys of stages.

    Where the shards lie, and limits that can only refuse, are not part of it. The first call reads all shards
    to digest them; the digests are cached by path, size and modification time.
    """
    fields = spec.model_dump(mode="json", exclude={"path", "train", "test", "max_bad", "max_decoded_gb"})
    if isinstance(spec, Digits):
        return {"format": FORMAT, **fields}
    shards = {part: shard_digests(spec, part) for part in ("train", "test")}
    both = {digest: name for name, digest in shards["train"].items()}
    for name, digest in shards["test"].items():
        if digest in both:
            raise BadInputError(
                f"data.test: shard {name} is also a training shard ({both[digest]}): "
                f"the patterns {spec.train!r} and {spec.test!r} must not share samples"
            )
    return {"format": FORMAT, **fields, "shards": shards}


def find_shards(spec: WebDataset, part: Part) -> list[Path]:
    """The shards of a part in the order of their names."""
    folder = Path(spec.path).expanduser().absolute()
    if not folder.is_dir():
        raise NotFoundError(f"data.path: {spec.path!r}: there is no folder {folder}")
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    pattern = getattr(spec, part)
    found = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
    if not found:
        listing = ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")
        raise BadInputError(f"data.{part}: no shard in {folder} matches {pattern!r}; there is: {listing or 'nothing'}")
    for name in found:
        if not name.endswith(SHARD_ENDINGS):
            raise BadInputError(
                f"data.{part}: {pattern!r} matches {name} in {folder}, which is not a shard; "
                f"legal endings: {', '.join(SHARD_ENDINGS)}"
            )
    return [folder / name for name in found]


def shard_digests(spec: WebDataset, part: Part) -> dict[str, str]:
    """The SHA-256 of every shard of a part by its name, from the cache where the file did not change."""
    shards = find_shards(spec, part)
    cache = home() / "cache" / "digests" / f"{digest_json([str(shard) for shard in shards])}.json"
    known = json.loads(cache.read_text(encoding="utf-8")) if cache.exists() else {}
    fresh: dict[str, Any] = {}
    digests: dict[str, str] = {}
    for shard in shards:
        stat = shard.stat()
        state = [stat.st_size, stat.st_mtime_ns]
        old = known.get(shard.name, {})
        digest = digests[shard.name] = old["digest"] if old.get("state") == state else digest_file(shard)
        if time.time_ns() - stat.st_mtime_ns > 2_000_000_000:  # within one tick a file may change unseen
            fresh[shard.name] = {"state": state, "digest": digest}
    if fresh != known:
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_json(cache, fresh)
    return digests
