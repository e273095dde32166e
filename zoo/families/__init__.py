"""The families by name. A new family is a new table here and a test; no method changes."""

from typing import Any

from pydantic import ValidationError

from zoo.errors import BadInputError
from zoo.families.vit import VIT
from zoo.family import Architecture, Family
from zoo.size import Size

FAMILIES: dict[str, Family] = {family.name: family for family in (VIT,)}


def architecture(family: str, config: dict[str, Any], size: Size) -> Architecture:
    """Make an architecture from plain values. Raises `BadInputError` naming the field and the legal values."""
    if family not in FAMILIES:
        raise BadInputError(f"family: {family!r} is not known; legal values: {', '.join(FAMILIES)}")
    table = FAMILIES[family]
    try:
        return Architecture(table, table.config(**config), size)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        legal = ", ".join(table.config.model_fields)
        raise BadInputError(f"config.{where}: {first['msg']}; fields of {family!r}: {legal}") from error
