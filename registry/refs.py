"""How entries are named in text, and what a message says when the name is wrong."""

import difflib
import re
from collections.abc import Iterable
from typing import Any

from zoo.errors import BadInputError

SHOWN = 20  # names in one message


def parse_ref(ref: str) -> tuple[str, str | None, int | None]:
    """Split a reference into name, alias and version. Raises `BadInputError`."""
    match = re.fullmatch(r"([^@:]*)(?:@([\w-]+)|:([1-9]\d*))?", ref, re.ASCII)
    if match is None:
        raise BadInputError(f"reference {ref!r} is not legal; legal are NAME, NAME@ALIAS and NAME:VERSION")
    name, alias, number = match.groups()
    return parse_name(name), alias, int(number) if number else None


def parse_name(name: str) -> str:
    """`name`, if it can be the name of an entry. Raises `BadInputError`."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", name):
        legal = "up to 128 letters, digits, '.', '_' and '-', a letter or digit first"
        raise BadInputError(f"name {name!r} is not legal; legal are {legal}")
    return name


def parse_alias(alias: str) -> str:
    """`alias`, if MLflow can keep it: `latest` and `v1` mean something else there. Raises `BadInputError`."""
    if not re.fullmatch(r"(?!latest$|v\d+$)[\w-]{1,255}", alias, re.ASCII | re.IGNORECASE):
        legal = "letters, digits, '_' and '-', but not 'latest' or 'v' and a number"
        raise BadInputError(f"alias {alias!r} is not legal; legal are {legal}")
    return alias


def close_to(name: str, names: Iterable[str]) -> str:
    """What to say when `name` is none of `names`."""
    names = sorted(names)
    close = difflib.get_close_matches(name, names)
    return f"did you mean {' or '.join(close)}?" if close else f"it has {known(names)}"


def known(values: Iterable[Any]) -> str:
    """The values in order, for a message; of many only the first."""
    texts = [str(value) for value in sorted(values)]
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return (", ".join(texts[:SHOWN]) or "none") + more
