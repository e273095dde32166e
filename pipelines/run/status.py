"""How a stage is: one row of what `zoo run` and `zoo plan` show and tell."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

State = Literal["waiting", "cached", "elsewhere", "queued", "running", "done", "failed", "stopped"]
"""`waiting` for inputs or room, `elsewhere`: another run does it, `queued`: the cluster has not started it yet,
`stopped`: its job has ended meanwhile.
"""


@dataclass
class StageStatus:
    """One row of the live table."""

    name: str
    run: str
    key: str
    state: State
    step: int = 0
    total: int = 0
    samples_per_second: float = 0.0
    """Of all workers together, while it trains."""
    seconds: float = 0.0
    scores: dict[str, float] = field(default_factory=dict)
    holder: str = ""
    """Which run works on it; empty: none."""


OnChange = Callable[[StageStatus], None]
