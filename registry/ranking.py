"""All entries side by side, so that ten thousand are filtered and ordered within milliseconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from registry.columns import NO_SHAPE, Columns, Vocabulary, Words, parse
from registry.entries import Entry
from registry.evidence import Evidence, is_about, lower_is_better
from registry.mirror_file import Shelved
from registry.search import Question
from zoo.errors import BadInputError
from zoo.solve import Budget, Fill, Sizes, fill, sizes_of

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
ALL = slice(None)
EXACT = -1.0  # nearer than any other size


@dataclass(frozen=True)
class Ordered:
    """The rows that answer a question, best first, and the fill of each shape (None: nothing fits, or not asked)."""

    rows: Ints
    fills: dict[int, Fill | None]


class Ranking:
    """The entries of a registry and their evidence; `before` gives what did not change since."""

    def __init__(self, names: Mapping[str, Shelved], before: "Ranking | None" = None) -> None:
        self._names, self._words = names, before._words if before else Vocabulary()
        old = before._parts if before else {}
        same = {name for name in old if before and before._names[name] is names.get(name)}
        self._parts = {name: old[name] if name in same else parse(names[name], self._words) for name in names}
        self._all = Columns.joined(list(self._parts.values()))
        self.foreign = [ref for shelved in names.values() for ref in shelved.foreign]

    def order(self, question: Question) -> Ordered:
        """The rows that answer a question, the best first."""
        rows = np.flatnonzero(self._allowed(question))
        fills = self._fills(rows, question)
        if fills:
            rows = rows[[fills[shape] is not None for shape in self._all.shape[rows]]]
        values, scores = (column[rows] for column in self._numbers(question, fills))
        shares = self._shares(fills)[rows]
        if question.order_by == "newest":
            values = self._all.created[rows]
        elif question.order_by == "fill":
            values = shares
        worst = np.isnan(values)
        ties = -self._all.created[rows], -shares, self._all.standing[rows], -scores  # the last one decides first
        keys = (*ties, np.where(worst, 0.0, -values), worst)
        return Ordered(rows[np.lexsort(keys)], fills)

    def entry(self, row: int) -> Entry:
        """The entry in a row."""
        return Entry.model_validate(self._all.raw[row])

    def sizes(self, row: int) -> Sizes:
        """The sizes that the entry in a row can give."""
        return sizes_of(self._words.shapes.texts[self._all.shape[row]])

    def shape(self, row: int) -> int:
        """What the entry in a row has in common with all that give the same sizes."""
        return int(self._all.shape[row])

    def evidence(self, row: int, question: Question, size: Fill | None) -> list[Evidence]:
        """What was measured for a question on models of the entry in a row, the nearest size first."""
        part = slice(*np.searchsorted(self._all.owner, [row, row + 1]))
        nearest = self._nearest(question, {self.shape(row): size} if size else {}, part)
        return [self._all.evidence[part][i] for i in nearest]

    @property
    def families(self) -> list[str]:
        """Those of the entries."""
        return self._words.families.texts

    @property
    def methods(self) -> list[str]:
        """Those of the entries."""
        return self._words.methods.texts

    @property
    def uncounted(self) -> list[str]:
        """The entries that do not say what their models count."""
        unknown = np.flatnonzero(self._all.shape == self._words.shapes.number(NO_SHAPE))
        return [f"{self._all.raw[i]['name']}:{self._all.raw[i]['version']}" for i in unknown]

    def _allowed(self, question: Question) -> Bools:
        columns, words = self._all, self._words
        allowed = np.ones(len(columns.raw), bool)
        for text, values, known in (
            (question.family, columns.family, words.families),
            (question.method, columns.method, words.methods),
        ):
            if text is not None:
                allowed &= values == known.numbers.get(text, -1)
        if question.task is not None:
            allowed &= _about(words.about, question.task)[columns.about]
        if question.alias is not None:
            allowed &= np.array([question.alias in raw["aliases"] for raw in columns.raw], bool)
        for key, text in question.tags.items():
            allowed &= np.array([raw["tags"].get(key) == text for raw in columns.raw], bool)
        return allowed

    def _fills(self, rows: Ints, question: Question) -> dict[int, Fill | None]:
        """By shape: the size that is asked for. Empty where neither a size nor a budget is given."""
        if question.size is None and question.parameters is None and question.flops is None:
            return {}
        texts = self._words.shapes.texts
        asked = question.parameters, question.flops, question.size
        return {int(shape): _fill(texts[shape], *asked) for shape in np.unique(self._all.shape[rows])}

    def _shares(self, fills: dict[int, Fill | None]) -> Floats:
        """How much of the budget the model of every entry fills."""
        share = np.zeros(len(self._words.shapes.texts))
        for shape, found in fills.items():
            share[shape] = (found.of_parameters or found.of_flops or 0.0) if found else 0.0
        return share[self._all.shape] if len(self._all.raw) else np.empty(0)

    def _numbers(self, question: Question, fills: dict[int, Fill | None]) -> tuple[Floats, Floats]:
        """For every entry the number that orders it, measured at the nearest size, and the score beside it.

        NaN and -inf where nothing was measured.
        """
        values, scores = np.full(len(self._all.raw), np.nan), np.full(len(self._all.raw), -np.inf)
        nearest = self._nearest(question, fills)[::-1]  # the last one that is written stays
        values[self._all.owner[nearest]] = self._number(question)[nearest]
        scores[self._all.owner[nearest]] = self._scores()[nearest]
        return values, scores

    def _nearest(self, question: Question, fills: dict[int, Fill | None], part: slice = ALL) -> Ints:
        """The rows of evidence that speak to a question, the nearest size first, of equally near ones the best."""
        usable = np.flatnonzero(self._usable(question, part))
        keys = -self._scores(part), -self._number(question, part), self._distances(question, fills, part)
        return usable[np.lexsort([key[usable] for key in keys])]

    def _scores(self, part: slice = ALL) -> Floats:
        """What was scored, the larger the better; -inf where nothing was."""
        losses = np.array([lower_is_better(name) for name in self._words.metrics.texts] or [False])
        scores = np.where(losses[self._all.metric[part]], -1.0, 1.0) * self._all.score[part]
        return np.where(np.isnan(scores), -np.inf, scores)

    def _usable(self, question: Question, part: slice = ALL) -> Bools:
        """Which rows of evidence speak to a question."""
        columns, words = self._all, self._words
        usable = np.isfinite(self._number(question, part))
        if question.metric is not None:
            usable &= columns.metric[part] == words.metrics.numbers.get(question.metric, -1)
        if question.task is not None:
            named = _about(words.benches, question.task)[columns.bench[part]]
            about = _about(words.about, question.task)[columns.about[columns.owner[part]]]
            usable &= named | (columns.own[part] & about)
        return usable

    def _number(self, question: Question, part: slice = ALL) -> Floats:
        """What a row of evidence says, the larger the better."""
        return self._scores(part) if question.order_by == "metric" else self._all.speed_up[part]

    def _distances(self, question: Question, fills: dict[int, Fill | None], part: slice = ALL) -> Floats:
        """How far each row of evidence is from the size asked for, in log parameters; without one, the best first."""
        columns, asked = self._all, np.full((3, len(self._words.shapes.texts)), np.nan)
        if not fills:
            return -self._number(question, part)
        for shape, found in fills.items():
            if found:
                asked[:, shape] = found.size.depth, found.size.width, found.parameters
        depth, width, parameters = asked[:, columns.shape[columns.owner[part]]]
        exact = (columns.depth[part] == depth) & (columns.width[part] == width)
        return np.where(exact, EXACT, np.abs(np.log(columns.parameters[part] / parameters)))


@lru_cache(maxsize=100_000)
def _fill(shape: str, parameters: int | None, flops: int | None, size: tuple[int, int] | None) -> Fill | None:
    """The size that is asked for, or that fills the budget best; None if there is none."""
    if shape == NO_SHAPE:
        return None
    sizes, budget = sizes_of(shape), Budget(parameters=parameters, flops=flops)
    if size is None:
        return next(iter(sizes.best(budget, 1)), None)
    try:
        found = fill(sizes.source, sizes.legal.size(*size), budget)
    except BadInputError:  # not a size of this learngene
        return None
    too_large = any(share and share > 1 for share in (found.of_parameters, found.of_flops))
    return None if too_large else found


def _about(names: Words, task: str) -> Bools:
    """For every number, whether its name (or one of its names) is about the task."""
    return np.array([is_about(task, name if isinstance(name, tuple) else (name,)) for name in names.texts] or [False])
