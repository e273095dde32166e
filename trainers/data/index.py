"""The index of a data set: its shards, and how each one must be.

`index.json` lies beside the shards, wherever that is. It stands for them: the identity of the data follows from it
alone, and what does not agree with it is never used.
"""

from collections import Counter
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from zoo.errors import IntegrityError

INDEX = "index.json"
INDEX_FORMAT = 1
SHARD_ENDINGS = (".tar", ".tar.gz", ".tgz")
"""Of shards of images; those of text are text files."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Shard(_Model):
    """A file of the data set; `samples` of a text file are its lines."""

    # A plain name: an index from elsewhere must not reach files outside its folder.
    name: Annotated[str, Field(pattern=r"^[^./\\\x00][^/\\\x00]*$")]
    samples: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)


class Index(_Model):
    """All shards of all parts. `classes`: the names of the labels 0, 1, ... where the source had names."""

    format: int = INDEX_FORMAT
    shards: tuple[Shard, ...] = Field(min_length=1)
    classes: tuple[str, ...] | None = None

    @field_validator("format")
    @classmethod
    def _is_known(cls, found: int) -> int:
        if found != INDEX_FORMAT:
            raise ValueError(f"this version of learngene-zoo reads {INDEX_FORMAT}")
        return found

    @field_validator("shards")
    @classmethod
    def _names_are_unique(cls, shards: tuple[Shard, ...]) -> tuple[Shard, ...]:
        name, count = Counter(shard.name for shard in shards).most_common(1)[0]
        if count > 1:
            raise ValueError(f"{name} is there {count} times")
        return shards

    @property
    def samples(self) -> int:
        """Of all shards."""
        return sum(shard.samples for shard in self.shards)

    @property
    def bytes(self) -> int:
        """Of all shards."""
        return sum(shard.bytes for shard in self.shards)


def parse_index(content: bytes, place: str) -> Index:
    """The index that was read at `place`. Raises `IntegrityError` naming the field."""
    try:
        return Index.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        raise IntegrityError(f"{place}: no index of data: {field}: {first['msg']}") from error
