"""Batches as a function of the step: no state, so nothing to save, and the same for any number of workers."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from trainers.data.samples import Samples
from trainers.inputs import Inputs
from trainers.seeds import generator
from zoo.errors import BadInputError


@dataclass(frozen=True, eq=False)
class Batches:
    """The training batches of one worker.

    Order, augmentation and masks of a *global* batch of `size` samples follow from the seed and the step alone; a
    worker takes its slice, which may have one sample more or less than another's. What does not fill a batch at the end
    of an epoch is left out of that epoch.

    Raises:
        BadInputError: a batch is larger than the data.
    """

    data: Samples
    size: int
    seed: int
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        """Refuse sizes that do not go together."""
        if self.size > len(self.data):
            raise BadInputError(f"batch: {self.size} is more than the {len(self.data)} training samples")

    @property
    def steps_per_epoch(self) -> int:
        """Whole global batches in an epoch."""
        return len(self.data) // self.size

    def span(self, part: int = 0, parts: int = 1) -> range:
        """Which samples of a global batch are in micro-batch `part` of `parts` of this worker; at least one."""
        pieces, piece = self.world * parts, self.rank * parts + part
        assert pieces <= self.size, (pieces, self.size)  # see `micro_batches`
        return range(self.size * piece // pieces, self.size * (piece + 1) // pieces)

    def batch(self, step: int, part: int = 0, parts: int = 1) -> tuple[Inputs, Tensor]:
        """Inputs and targets of micro-batch `part` of `parts` of this worker's share of global step `step`."""
        span = self.span(part, parts)
        chosen = slice(span.start, span.stop)
        epoch, position = divmod(step, self.steps_per_epoch)
        order = _order(len(self.data), self.seed, epoch)
        index = order[position * self.size : (position + 1) * self.size][chosen]
        # Drawn for the whole global batch, so that it does not depend on how the batch is divided.
        draws = self.data.draw(generator(self.seed, "augment", step), self.size)
        return self.data.training(index, tuple(draw[chosen] for draw in draws))


def eval_batches(data: Samples, size: int, rank: int = 0, world: int = 1) -> Iterator[tuple[Inputs, Tensor]]:
    """Every sample exactly once over all workers, in batches of at most `size`, without augmentation.

    All workers get equally many batches, as ZeRO 3 exchanges weights in every forward pass; the sizes differ
    by at most one. None is empty (few models can compute nothing), so there must be a sample for every worker.
    """
    assert size >= 2
    assert len(data) >= world
    pieces = -(-len(data) // (size * world)) * world
    for piece in range(rank, pieces, world):
        index = np.arange(len(data) * piece // pieces, len(data) * (piece + 1) // pieces)
        yield data.evaluation(index)


@lru_cache(maxsize=2)
def _order(samples: int, seed: int, epoch: int) -> np.ndarray:
    return torch.randperm(samples, generator=generator(seed, "order", epoch)).numpy()
