"""`find`: the learngenes that give a model within a budget, at the size that fills it best, best evidence first."""

import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

from registry.entries import Entry, warn_of, warn_of_unsigned
from registry.evidence import Evidence
from registry.mirror import Mirror, when_needed
from registry.refs import known
from registry.server import tracking_uri
from zoo.errors import BadInputError, ZooError
from zoo.files import home
from zoo.size import Size

if TYPE_CHECKING:
    from registry.ranking import Ranking
    from zoo.solve import Fill

Order = Literal["speedup", "metric", "fill", "newest"]
_log = logging.getLogger(__name__)
CALLED = {"parameters": "max_params", "flops": "max_flops", "latency": "max_latency"}
"""What fields of a question are called in `find`; messages have these names in backquotes."""
TRIES = 5  # how often names of an answer may change while we look


class Question(BaseModel):
    """What is asked: every field that is given must hold.

    task: a word in the name of the recipe or of a bench, or the tag `task`; evidence of other benches does not count.
    parameters, flops, latency: what the model may have at most (FLOPs and seconds of one pass of one sample).
    size: this very size, instead of the one that fills the budget best.
    metric: what evidence must have measured; needed to order by it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: str | None = None
    method: str | None = None
    task: str | None = None
    alias: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    parameters: PositiveInt | None = None
    flops: PositiveInt | None = None
    latency: float | None = Field(default=None, gt=0)
    size: tuple[PositiveInt, PositiveInt] | None = None
    metric: str | None = None
    order_by: Order = "speedup"
    limit: PositiveInt = Field(default=20, le=1000)
    page: PositiveInt = 1

    @model_validator(mode="after")
    def _sound(self) -> "Question":
        if self.order_by == "metric" and self.metric is None:
            raise ValueError("`order_by`: 'metric' needs `metric` (accuracy, eval_loss)")
        if self.order_by == "fill" and self.parameters is None and self.flops is None:
            raise ValueError("`order_by`: 'fill' needs a budget (`max_params` or `max_flops`)")
        if self.latency and self.parameters is None and self.flops is None:
            raise ValueError(
                "`max_latency` needs `max_params` or `max_flops` as well: sizes without an end cannot be measured"
            )
        if self.latency and self.size:
            raise ValueError("`max_latency` chooses a size; leave out `size`")
        return self


class Found(BaseModel):
    """A learngene, the model that it is asked for (None: no size and no budget was given), and the evidence.

    `evidence` holds what was measured, the nearest size first (by parameters); the first row is what orders the answer.
    `exact` says whether the first row is of this very size.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    entry: Entry
    size: Size | None
    parameters: int | None
    flops: int | None
    of_parameters: float | None
    of_flops: float | None
    latency: float | None
    evidence: tuple[Evidence, ...]
    exact: bool


class Page(BaseModel):
    """One page of the answer. `total` counts all pages; None where latency decides, page by page.

    order_by: as in the question, with the metric that orders it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    found: tuple[Found, ...]
    total: int | None
    page: int
    limit: int
    order_by: Order
    metric: str | None

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return self.model_dump(mode="json")


def find(
    *,
    family: str | None = None,
    method: str | None = None,
    task: str | None = None,
    alias: str | None = None,
    tags: Mapping[str, str] | None = None,
    max_params: int | None = None,
    max_flops: int | None = None,
    max_latency: float | None = None,
    size: tuple[int, int] | None = None,
    metric: str | None = None,
    order_by: Order = "speedup",
    limit: int = 20,
    page: int = 1,
) -> Page:
    """The learngenes that answer a question, best first; fields as in `Question`, `max_latency` in seconds.

    Order: evidence before none; then the best speed-up (or metric, or share of the budget, or the newest); then the
    better score beside it, the champion before others and these before a candidate, the fuller budget, the newer
    entry. What other processes promoted, registered or deleted before is seen.
    Raises `BadInputError` for an illegal question, `NotFoundError` if the registry does not answer.
    """
    try:
        question = Question(
            family=family,
            method=method,
            task=task,
            alias=alias,
            tags=dict(tags or {}),
            parameters=max_params,
            flops=max_flops,
            latency=max_latency,
            size=size,
            metric=metric,
            order_by=order_by,
            limit=limit,
            page=page,
        )
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        text = first["msg"].removeprefix("Value error, ")
        raise BadInputError(f"`{CALLED.get(field, field)}`: {first['input']!r}: {text}" if field else text) from error
    return answer(question)


def answer(question: Question) -> Page:
    """The answer to a question (`find`).

    Raises `BadInputError` for a family or a method that nobody knows, `NotFoundError` if the registry does not answer,
    `ZooError` if it changes whenever it is asked.
    """
    mirror = _mirror(tracking_uri(), str(home()))
    with mirror.lock, when_needed() as connected:
        for _ in range(TRIES):
            mirror.load(connected)
            ranking = _ranking(mirror)
            page = _page(ranking, question)
            if mirror.confirm(connected, {found.entry.name for found in page.found}):
                _check_known(ranking, question)
                _warn(ranking, question)
                warn_of_unsigned([found.entry for found in page.found])
                return page
    raise ZooError(f"the registry changed {TRIES} times while it was asked; ask again")


def _check_known(ranking: "Ranking", question: Question) -> None:
    """Raise `BadInputError` for a family or a method that neither this package nor the registry has."""
    from zoo.families import FAMILIES
    from zoo.methods import METHODS

    for field, asked, ours, there in (
        ("family", question.family, FAMILIES, ranking.families),
        ("method", question.method, METHODS, ranking.methods),
    ):
        if asked is not None and asked not in {*ours, *there}:
            raise BadInputError(f"`{field}`: {asked!r} is not known; legal values: {known({*ours, *there})}")


def _page(ranking: "Ranking", question: Question) -> Page:
    ordered = ranking.order(question)
    rows, first = ordered.rows.tolist(), (question.page - 1) * question.limit
    if question.latency is None:
        total: int | None = len(rows)
        chosen = [(row, ordered.fills.get(ranking.shape(row))) for row in rows[first : first + question.limit]]
    else:
        chosen, total = _fast(ranking, question, rows, first + question.limit)[first:], None
    found = tuple(_found(ranking, question, row, fill) for row, fill in chosen)
    told = {"page": question.page, "limit": question.limit, "order_by": question.order_by, "metric": question.metric}
    return Page(found=found, total=total, **told)


def _fast(ranking: "Ranking", question: Question, rows: Sequence[int], wanted: int) -> "list[tuple[int, Fill | None]]":
    """The first `wanted` entries that give a model which is fast enough, each with the fullest such size."""
    from zoo.latency import Cpu, solve_within
    from zoo.solve import Budget

    cpu = Cpu.here()
    budget = Budget(parameters=question.parameters, flops=question.flops, latency=question.latency)
    fast: dict[int, Fill | None] = {}
    chosen: list[tuple[int, Fill | None]] = []
    for row in rows:
        shape = ranking.shape(row)
        if shape not in fast:
            fast[shape] = next(iter(solve_within(ranking.sizes(row), budget, cpu, 1)), None)
        if fast[shape] is not None:
            chosen.append((row, fast[shape]))
        if len(chosen) == wanted:
            break
    return chosen


def _found(ranking: "Ranking", question: Question, row: int, fill: "Fill | None") -> Found:
    size = fill.size if fill else None
    evidence = ranking.evidence(row, question, fill)
    first = evidence[0] if evidence else None
    return Found(
        entry=ranking.entry(row),
        size=size,
        parameters=fill.parameters if fill else None,
        flops=fill.flops if fill else None,
        of_parameters=fill.of_parameters if fill else None,
        of_flops=fill.of_flops if fill else None,
        latency=fill.latency if fill else None,
        evidence=tuple(evidence),
        exact=bool(size and first and (first.depth, first.width) == (size.depth, size.width)),
    )


def _warn(ranking: "Ranking", question: Question) -> None:
    warn_of(ranking.foreign)
    if ranking.uncounted and (question.size or question.parameters or question.flops):
        text = "%d entries do not say what their models count; register them again: %s"
        _log.warning(text, len(ranking.uncounted), known(ranking.uncounted))


@lru_cache(maxsize=8)
def _mirror(uri: str, _home: str) -> Mirror:
    return Mirror(uri)


_rankings: "WeakKeyDictionary[Mirror, tuple[int, Ranking]]" = WeakKeyDictionary()  # with the generation they are of


def _ranking(mirror: Mirror) -> "Ranking":
    from registry.ranking import Ranking

    generation, ranking = _rankings.get(mirror, (0, None))
    if ranking is None or generation != mirror.generation:
        ranking = Ranking(mirror.names, ranking)
        _rankings[mirror] = mirror.generation, ranking
    return ranking
