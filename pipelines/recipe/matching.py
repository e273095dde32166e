"""Whether data are of the shape that a model wants."""

from collections.abc import Iterator
from typing import Any

from trainers.data.config import Data
from zoo.family import Family

NONE = object()


def mismatches(family: Family, config: dict[str, Any], data: Data) -> Iterator[tuple[str, str]]:
    """The fields of `config` that the data contradict, each with what is wrong."""
    for fact, field in family.data.items():
        have = getattr(data, fact, NONE)
        if have is NONE:
            yield field, f"the data (kind {data.kind}) have no {fact}, which family {family.name!r} wants"
        elif have is not None and config[field] != have:
            yield field, f"{config[field]}, but the data have {have}"
    if family.longest and (length := getattr(data, "length", 0)) > config[family.longest]:
        yield family.longest, f"{config[family.longest]}, but the data's samples have length {length}"
