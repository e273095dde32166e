"""Budgets as people write them: `6M` parameters, `1.2G` floating-point operations, `5ms`."""

import re
from fractions import Fraction

from zoo.errors import BadInputError

COUNTS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
SECONDS = {"us": Fraction(1, 10**6), "ms": Fraction(1, 1000), "s": Fraction(1)}


def parse_count(text: str, field: str) -> int:
    """A whole number from `6000000`, `6M` or `1.2G`. Raises `BadInputError` that names `field`."""
    value = _parse(text, COUNTS)
    if value is None or value < 1 or value.denominator != 1:
        units = "K, M, G or T"
        raise BadInputError(
            f"{field}: {text!r} is not legal; legal are whole numbers from 1, as 6000000, 6M, 1.2G ({units})"
        )
    return int(value)


def parse_seconds(text: str, field: str) -> float:
    """Seconds from `5ms`, `800us` or `1.5s`. Raises `BadInputError` that names `field`."""
    value = _parse(text, SECONDS)
    if value is None or value <= 0:
        raise BadInputError(f"{field}: {text!r} is not legal; legal are times above 0 with a unit, as 800us, 5ms, 1.5s")
    return float(value)


def count_text(value: int) -> str:
    """A count for people: `5.91M`, three digits."""
    for unit, size in reversed(COUNTS.items()):
        if unit and value >= size:
            return f"{value / size:.3g}{unit}" if value < 999.5 * size else f"{value / size:.0f}{unit}"
    return str(value)


def _parse(text: str, units: dict[str, int] | dict[str, Fraction]) -> Fraction | None:
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?)([A-Za-z]*)", text, re.ASCII)
    if match is None or match[2] not in units:
        return None
    return Fraction(match[1]) * units[match[2]]
