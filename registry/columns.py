"""Entries and their evidence as columns of numbers; texts that repeat (families, benches, shapes) are numbered."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.entries import CHAMPION
from registry.evidence import SPEED_UP, Evidence, evidence_of
from registry.history import CANDIDATE
from registry.mirror_file import Shelved
from zoo.errors import BadInputError
from zoo.files import canonical_json
from zoo.size import Size
from zoo.solve import sizes_of

NO_SHAPE = ""  # of an entry that does not say what its models count


@dataclass
class Words:
    """Texts (or tuples of them) by number, in the order in which they came."""

    texts: list[Any] = field(default_factory=list)
    numbers: dict[Any, int] = field(default_factory=dict)

    def number(self, text: Any) -> int:
        """The number of a text; a new one gets the next."""
        if text not in self.numbers:
            self.numbers[text] = len(self.texts)
            self.texts.append(text)
        return self.numbers[text]


@dataclass
class Vocabulary:
    """What is numbered. `about` are the names that say what an entry is for; `counts` the parameters of sizes."""

    families: Words = field(default_factory=Words)
    methods: Words = field(default_factory=Words)
    shapes: Words = field(default_factory=Words)
    about: Words = field(default_factory=Words)
    benches: Words = field(default_factory=Words)
    metrics: Words = field(default_factory=Words)
    counts: dict[tuple[str, int, int], int] = field(default_factory=dict)

    def parameters(self, shape: str, depth: int, width: int) -> int:
        """What a model of this size has, with MLP and heads in the learngene's proportions."""
        key = (shape, depth, width)
        if key not in self.counts:
            source, legal = sizes_of(shape).source, sizes_of(shape).legal
            mlp = max(1, round(width * legal.mlp_ratio))
            size = Size(depth=depth, width=width, heads=int(source.family.attention), mlp=mlp)  # heads change no count
            self.counts[key] = source.at(size).parameters()
        return self.counts[key]


@dataclass(frozen=True)
class Columns:
    """Rows of entries (`raw` ... `created`), and rows of their evidence, whose `owner` is a row of entries."""

    raw: list[dict[str, Any]]
    evidence: list[Evidence]
    family: NDArray[np.int64]
    method: NDArray[np.int64]
    shape: NDArray[np.int64]
    about: NDArray[np.int64]
    created: NDArray[np.float64]
    standing: NDArray[np.int64]  # 0: the champion, 2: the candidate, which was refused or waits for its gate, 1: others
    owner: NDArray[np.int64]
    bench: NDArray[np.int64]
    own: NDArray[np.bool_]  # whether the bench is that of the recipe that made the entry
    depth: NDArray[np.int64]
    width: NDArray[np.int64]
    parameters: NDArray[np.float64]
    metric: NDArray[np.int64]
    score: NDArray[np.float64]
    speed_up: NDArray[np.float64]

    @classmethod
    def joined(cls, parts: "Sequence[Columns]") -> "Columns":
        """The rows of all parts, one after the other."""
        starts = np.cumsum([0, *(len(part.raw) for part in parts)])
        columns: dict[str, Any] = {}
        for column in fields(cls):
            values = [getattr(part, column.name) for part in parts]
            if column.name in ("raw", "evidence"):
                columns[column.name] = [row for value in values for row in value]
            else:
                moved = (
                    [v + start for v, start in zip(values, starts, strict=False)] if column.name == "owner" else values
                )
                columns[column.name] = np.concatenate(moved) if moved else np.empty(0, np.int64)
        return cls(**columns)


def parse(shelved: Shelved, words: Vocabulary) -> Columns:
    """The columns of one name."""
    raw = shelved.entries
    shapes = [_shape(entry) for entry in raw]
    rows = [(i, row) for i, entry in enumerate(raw) for row in evidence_of(entry["metrics"]) if shapes[i]]
    metrics = [row.metric or "" for _, row in rows]
    return Columns(
        raw=raw,
        evidence=[row for _, row in rows],
        family=_ints(words.families.number(entry["family"]) for entry in raw),
        method=_ints(words.methods.number(entry["method"]) for entry in raw),
        shape=_ints(words.shapes.number(shape) for shape in shapes),
        about=_ints(words.about.number(_about(entry)) for entry in raw),
        created=np.array([datetime.fromisoformat(entry["created"]).timestamp() for entry in raw]),
        standing=_ints(standing(entry["aliases"]) for entry in raw),
        owner=_ints(i for i, _ in rows),
        bench=_ints(words.benches.number(row.bench) for _, row in rows),
        own=np.array([row.bench == raw[i]["tags"].get("recipe") for i, row in rows], dtype=bool),
        depth=_ints(row.depth for _, row in rows),
        width=_ints(row.width for _, row in rows),
        parameters=np.array([words.parameters(shapes[i], row.depth, row.width) for i, row in rows], dtype=float),
        metric=_ints(words.metrics.number(metric) for metric in metrics),
        score=np.array([row.numbers.get(metric, np.nan) for (_, row), metric in zip(rows, metrics, strict=True)]),
        speed_up=np.array([row.numbers.get(SPEED_UP, np.nan) for _, row in rows], dtype=float),
    )


def standing(aliases: Sequence[str]) -> int:
    """Where a version with these aliases stands among those that are as good: the champion first."""
    return 0 if CHAMPION in aliases else 2 if CANDIDATE in aliases else 1


def _shape(entry: dict[str, Any]) -> str:
    """What decides which sizes there are and what they count; `NO_SHAPE` where the entry does not say."""
    if entry["config"] is None or entry["size"] is None:
        return NO_SHAPE
    shape = canonical_json({key: entry[key] for key in ("family", "config", "size", "legal")})
    try:
        sizes_of(shape)
    except BadInputError:  # a family or a config of another version of this package
        return NO_SHAPE
    return shape


def _about(entry: dict[str, Any]) -> tuple[str, ...]:
    """The names that say what an entry is for: the tag `task`, or the recipe and the benches."""
    tags = entry["tags"]
    if "task" in tags:
        return (tags["task"],)
    benches = {row.bench for row in evidence_of(entry["metrics"])}
    return tuple(sorted(benches | {tags["recipe"]} if "recipe" in tags else benches))


def _ints(values: Any) -> NDArray[np.int64]:
    return np.fromiter(values, dtype=np.int64)
