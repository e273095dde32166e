"""The families by name. A new family is a new table here and a test; no method changes."""

from typing import Any

from pydantic import BaseModel, ValidationError

from zoo.architecture import Architecture
from zoo.errors import BadInputError
from zoo.families.bert import BERT
from zoo.families.convnext import CONVNEXT
from zoo.families.dit import DIT
from zoo.families.gpt2 import GPT2
from zoo.families.mlp import MLP
from zoo.families.resnet import RESNET
from zoo.families.roberta import ROBERTA
from zoo.families.vit import VIT
from zoo.family import Family
from zoo.size import Size

FAMILIES: dict[str, Family] = {family.name: family for family in (VIT, RESNET, CONVNEXT, BERT, ROBERTA, GPT2, MLP, DIT)}


def architecture(family: str, config: dict[str, Any], size: Size) -> Architecture:
    """Make an architecture from plain values. Raises `BadInputError` naming the field and the legal values."""
    arch = Architecture(find_family(family), configure(family, config), size)
    check_size(arch)
    return arch


def find_family(name: str) -> Family:
    """The family of this name. Raises `BadInputError`."""
    if name not in FAMILIES:
        raise BadInputError(f"family: {name!r} is not known; legal values: {', '.join(FAMILIES)}")
    return FAMILIES[name]


def configure(family: str, config: dict[str, Any]) -> BaseModel:
    """A family's config from plain values. Raises `BadInputError` naming the field and the legal ones."""
    fields = find_family(family).config
    try:
        return fields(**config)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(("config", *(str(part) for part in first["loc"])))
        text, legal = first["msg"].removeprefix("Value error, "), ", ".join(fields.model_fields)
        raise BadInputError(f"{where}: {text}; fields of {family!r}: {legal}") from error


def check_size(arch: Architecture) -> None:
    """Raise `BadInputError` for a size that the family has no models of."""
    family, size = arch.family, arch.size
    if family.attention and not size.heads:
        raise BadInputError(f"size.heads: missing; family {family.name!r} has attention")
    if not family.attention and size.heads:
        raise BadInputError(f"size.heads: {size.heads}, but family {family.name!r} has no attention; leave it out")
    if not family.mlp and size.mlp != 4 * size.width:
        raise BadInputError(f"size.mlp: {size.mlp}, but family {family.name!r} has no MLP width; leave it out")
    legal = arch.legal
    for field, value, values in (("depth", size.depth, legal.depth), ("width", size.width, legal.width)):
        if value not in values:
            why = f" ({legal.why})" if legal.why else ""
            raise BadInputError(f"size.{field}: {value} is not legal for {family.name!r}; it must be {values}{why}")
