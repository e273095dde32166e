"""`Gate`: what a version must have shown to become the champion. A version keeps its recipe's as a tag."""

from collections.abc import Sequence
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, StringConstraints, ValidationError, model_validator

from registry.entries import Entry
from registry.evidence import evidence_of, lower_is_better
from zoo.errors import BadInputError
from zoo.files import canonical_json

TAG = "gate"
SizeName = Annotated[str, StringConstraints(pattern=r"^[1-9]\d*x[1-9]\d*$")]


class Gate(BaseModel):
    """Scores that models of named sizes reach in one bench; those of the champion come from the same bench.

    metric: what the bench measured (`accuracy`; of a loss the lower is the better).
    sizes: DEPTHxWIDTH, each of which must have been measured, of the champion too.
    start: which start of the bench, where an entry took part as several; otherwise its best one counts at each size.
    least: the score that every size must reach, whoever is the champion.
    gain: by how much the mean over the sizes must be better than the champion's; 0: no worse.
    worse: by how much a single size may be worse than the champion's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    bench: Annotated[str, Field(min_length=1)]
    metric: Annotated[str, Field(min_length=1)]
    sizes: Annotated[tuple[SizeName, ...], Field(min_length=1)]
    start: str | None = None
    least: float | None = None
    gain: NonNegativeFloat = 0.0
    worse: NonNegativeFloat = 0.0

    @model_validator(mode="after")
    def _no_size_twice(self) -> "Gate":
        if len(set(self.sizes)) < len(self.sizes):
            raise ValueError("sizes: a size stands there twice; it would count for two")
        return self

    @property
    def text(self) -> str:
        """What the tag `gate` of a version holds."""
        return canonical_json(self.model_dump(mode="json", exclude_none=True))


class Row(BaseModel):
    """One thing that a gate asks for: the score, the champion's, and why it fails (None: it holds)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: str
    score: float | None
    champion: float | None
    fails: str | None = None

    def __str__(self) -> str:
        return f"{self.size}: {self.fails or 'holds'}"


class Verdict(BaseModel):
    """What a gate said: one row a size, and one for the mean."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gate: Gate
    rows: tuple[Row, ...]

    @property
    def failed(self) -> tuple[Row, ...]:
        """The rows that do not hold."""
        return tuple(row for row in self.rows if row.fails)


def judge(gate: Gate, candidate: Entry, champion: Entry | None) -> Verdict:
    """What the evidence says about making `candidate` the champion; without one before, only `least` can fail."""
    scores, own = _scores(gate, candidate), _scores(gate, champion) if champion else {}
    rows = [_row(gate, size, scores.get(size), own.get(size), champion) for size in gate.sizes]
    if champion and all(row.score is not None and row.champion is not None for row in rows):
        rows.append(_mean(gate, rows))
    return Verdict(gate=gate, rows=tuple(rows))


def gate_of(entry: Entry) -> Gate | None:
    """The gate that the recipe of a version gave it. Raises `BadInputError` if the tag is not one."""
    return parse_gate(yaml.safe_load(entry.tags[TAG]), f"{entry.ref}, tag {TAG!r}") if TAG in entry.tags else None


def parse_gate(content: Any, place: str) -> Gate:
    """A gate from plain values, which `place` names in messages. Raises `BadInputError`."""
    try:
        return Gate.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(("gate", *map(str, first["loc"])))
        fields = ", ".join(Gate.model_fields)
        raise BadInputError(f"{place}: {field}: {first['input']!r}: {first['msg']}; fields: {fields}") from error


def _scores(gate: Gate, entry: Entry) -> dict[str, float]:
    """The better of what was measured, by size."""
    scores: dict[str, float] = {}
    for row in evidence_of(entry.metrics):
        if row.bench == gate.bench and gate.start in (None, row.start) and gate.metric in row.numbers:
            score = row.numbers[gate.metric]
            if row.size not in scores or _gain(gate, score, scores[row.size]) > 0:
                scores[row.size] = score
    return scores


def _row(gate: Gate, size: str, score: float | None, own: float | None, champion: Entry | None) -> Row:
    row = Row(size=size, score=score, champion=own)
    fails = None
    if score is None:
        fails = f"{gate.metric} was not measured in bench {gate.bench!r}"
    elif gate.least is not None and _gain(gate, score, gate.least) < 0:
        fails = f"{gate.metric} {score:.4g}, asked for is {gate.least:.4g}"
    elif champion and own is None:
        fails = f"{gate.metric} of the champion {champion.ref} was not measured in bench {gate.bench!r}"
    elif own is not None and -_gain(gate, score, own) > gate.worse:
        fails = f"{gate.metric} {score:.4g} is worse than the champion's {own:.4g} by more than {gate.worse:g}"
    return row.model_copy(update={"fails": fails})


def _mean(gate: Gate, rows: Sequence[Row]) -> Row:
    score = sum(row.score or 0.0 for row in rows) / len(rows)
    own = sum(row.champion or 0.0 for row in rows) / len(rows)
    row = Row(size="mean", score=score, champion=own)
    if _gain(gate, score, own) >= gate.gain:
        return row
    what = f"{gate.metric} {score:.4g} against the champion's {own:.4g}, asked for is a gain of {gate.gain:g}"
    return row.model_copy(update={"fails": what})


def _gain(gate: Gate, score: float, own: float) -> float:
    """By how much a score is better; rounded, so that 0.5 - 0.48 is no more than 0.02."""
    return round(own - score if lower_is_better(gate.metric) else score - own, 9)
