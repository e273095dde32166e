"""What every method can do with every family: asked of the methods themselves, for a table that cannot go stale."""

from dataclasses import dataclass

from zoo.architecture import Architecture
from zoo.errors import BadInputError
from zoo.families import FAMILIES, configure
from zoo.methods import METHODS
from zoo.methods.base import Method
from zoo.size import Size

DIRECTIONS = {
    "shrink depth": (0.5, 1.0),
    "grow depth": (2.0, 1.0),
    "shrink width": (1.0, 0.5),
    "grow width": (1.0, 2.0),
}
"""How depth and width change."""
NEEDED: dict[str, dict[str, int]] = {"roberta": {"pad_token_id": 1}}
"""Config fields without a default."""
SHORT = {"shrink depth": "d-", "grow depth": "d+", "shrink width": "w-", "grow width": "w+"}


@dataclass(frozen=True)
class Capability:
    """One cell: whether a method can move a family's models in a direction; if not, why."""

    method: str
    family: str
    direction: str
    refusal: str
    """Empty where it works."""


def capabilities() -> list[Capability]:
    """All cells: method x family x direction, at each family's default config."""
    return [
        Capability(method, family, direction, refusal(kind.model_validate({}), example(family), direction))
        for method, kind in METHODS.items()
        for family in FAMILIES
        for direction in DIRECTIONS
    ]


def refusal(method: Method, source: Architecture, direction: str) -> str:
    """Why `method` cannot move `source` in a direction; empty if it can."""
    try:
        method.legal(source).check(moved(source.size, direction))
    except BadInputError as error:
        return str(error)
    return ""


def moved(size: Size, direction: str) -> Size:
    """Half or double the depth or the width; heads keep their channels, the MLP its proportion."""
    depth, width = DIRECTIONS[direction]
    numbers = {"width": size.width, "heads": size.heads, "mlp": size.mlp}
    return Size(depth=int(size.depth * depth), **{name: int(number * width) for name, number in numbers.items()})


def example(family: str) -> Architecture:
    """A middling size of a family at its default config."""
    table = FAMILIES[family]
    config = configure(family, NEEDED.get(family, {}))
    depth = 4 * table.least_depth(config)
    return Architecture(table, config, Size(depth=depth, width=128, heads=4 if table.attention else 0))


def overview() -> tuple[list[list[str]], list[str]]:
    """The table for people: a row a method (its name, then a cell a family), and the reasons that cells refer to."""
    cells = capabilities()
    reasons: list[str] = []
    rows: list[list[str]] = []
    for method in METHODS:
        mine = [[c for c in cells if (c.method, c.family) == (method, family)] for family in FAMILIES]
        rows.append([method, *(_cell(some, reasons) for some in mine)])
    return rows, reasons


def markdown() -> str:
    """The table of the README."""
    rows, reasons = overview()
    lines = ["| method | " + " | ".join(FAMILIES) + " |", "|---" * (len(FAMILIES) + 1) + "|"]
    lines += [f"| `{name}` | " + " | ".join(cells) + " |" for name, *cells in rows]
    return "\n".join([*lines, "", *(f"{number}. {reason}" for number, reason in enumerate(reasons, 1))])


def _cell(cells: list[Capability], reasons: list[str]) -> str:
    works = [SHORT[cell.direction] for cell in cells if not cell.refusal]
    refused = list(dict.fromkeys(_reason(cell) for cell in cells if cell.refusal))
    reasons.extend(reason for reason in refused if reason not in reasons)
    numbers = ", ".join(str(reasons.index(reason) + 1) for reason in refused)
    text = "all" if len(works) == len(cells) else " ".join(works) or "none"
    return f"{text} ({numbers})" if refused else text


def _reason(cell: Capability) -> str:
    """The part of a refusal that says why: in parentheses, or all of it."""
    _, opened, rest = cell.refusal.partition(" (")
    return rest.partition(")")[0] if opened else cell.refusal
