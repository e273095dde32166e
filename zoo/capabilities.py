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


def markdown() -> str:
    """The table of the README: a row a method, a column a family; reasons below."""
    cells = capabilities()
    notes: dict[str, int] = {}
    lines = ["| method | " + " | ".join(FAMILIES) + " |", "|---" * (len(FAMILIES) + 1) + "|"]
    for method in METHODS:
        row = [_cell([c for c in cells if (c.method, c.family) == (method, family)], notes) for family in FAMILIES]
        lines.append(f"| `{method}` | " + " | ".join(row) + " |")
    return "\n".join([*lines, "", *(f"{number}. {note}" for note, number in notes.items())])


def _cell(cells: list[Capability], notes: dict[str, int]) -> str:
    works = [SHORT[cell.direction] for cell in cells if not cell.refusal]
    refused = [f"{notes.setdefault(_reason(cell), len(notes) + 1)}" for cell in cells if cell.refusal]
    marks = f" ^{','.join(dict.fromkeys(refused))}^" if refused else ""
    return ("all" if len(works) == len(cells) else " ".join(works) or "-") + marks


def _reason(cell: Capability) -> str:
    """The part of a refusal that says why: in parentheses, or all of it."""
    _, opened, rest = cell.refusal.partition(" (")
    return rest.partition(")")[0] if opened else cell.refusal
