"""Checkpoint folders of other libraries: what a ready model is written as, and what an ancestor is read from."""

from typing import Any

from zoo.errors import BadInputError
from zoo.family import Library
from zoo.formats.base import Format
from zoo.formats.own import Own
from zoo.formats.timm import Timm
from zoo.formats.transformers import Transformers

FORMATS: dict[Library, Format] = {"timm": Timm(), "transformers": Transformers(), "zoo": Own()}


def recognise(content: Any) -> Format:
    """The library whose `config.json` this is. Raises `BadInputError`."""
    if isinstance(content, dict):
        for form in FORMATS.values():
            if form.mark in content:
                return form
    marks = " or ".join(repr(form.mark) for form in FORMATS.values())
    raise BadInputError(f"no field {marks}; not a checkpoint of {', '.join(FORMATS)}")
