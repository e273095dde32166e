"""Evidence of an entry: what benches measured on models that start from it (`bench/BENCH/START/SIZE/WHAT`)."""

import re
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

PREFIX = "bench"
_NAME = re.compile(PREFIX + r"/([^/]+)/([^/]+)/([1-9]\d*)x([1-9]\d*)/([^/]+)", re.ASCII)
SPEED_UP, CENSORED, SCRATCH, REFERENCE = "speed_up", "censored", "scratch", "reference"
"""What is no metric: training saved against scratch, the scores of scratch's short and of its long training.

`censored` is 1 where most seeds were at scratch's score before any step: the speed-up is at least what is written.
"""


class Evidence(BaseModel):
    """What one bench measured at one size: `numbers` are its metric, `scratch`, `reference`, `speed_up`, `censored`.

    `speed_up` is 0 where scratch's long training was not reached.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bench: str
    start: str
    depth: int
    width: int
    numbers: dict[str, float]

    @property
    def size(self) -> str:
        """The size as benches name it."""
        return f"{self.depth}x{self.width}"

    @property
    def metric(self) -> str | None:
        """The name of the score that was measured."""
        names = self.numbers.keys() - {SPEED_UP, CENSORED, SCRATCH, REFERENCE}
        return min(names, default=None)

    @property
    def score(self) -> float | None:
        """What was measured of it."""
        return self.numbers[self.metric] if self.metric else None


def evidence_of(metrics: Mapping[str, float]) -> list[Evidence]:
    """The evidence among the numbers of an entry, by bench, start and size."""
    rows: dict[tuple[str, str, int, int], dict[str, float]] = {}
    for name, value in metrics.items():
        if match := _NAME.fullmatch(name):
            bench, start, depth, width, what = match.groups()
            rows.setdefault((bench, start, int(depth), int(width)), {})[what] = value
    return [
        Evidence(bench=bench, start=start, depth=depth, width=width, numbers=numbers)
        for (bench, start, depth, width), numbers in sorted(rows.items(), key=lambda row: row[0])
    ]


def is_evidence(name: str) -> bool:
    """Whether a number of an entry is evidence."""
    return _NAME.fullmatch(name) is not None


def speed_text(numbers: Mapping[str, float]) -> str | None:
    """The speed-up as it was measured, with `≥` where it is censored; None where scratch was not reached."""
    speed = numbers.get(SPEED_UP, 0.0)
    if not speed:
        return None
    return f"{'≥ ' if numbers.get(CENSORED) else ''}{speed:.{0 if speed >= 100 else 1}f}"


def lower_is_better(metric: str) -> bool:
    """Whether a score is a loss."""
    return metric.endswith(("loss", "perplexity"))


def is_about(task: str, names: tuple[str, ...]) -> bool:
    """Whether one of the names of recipes and benches is the task or has it as a word: `cifar10` of `vit-cifar10`."""
    return any(task == name or task in re.split(r"[-._]", name) for name in names)
