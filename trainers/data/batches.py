"""Batches as a function of the step: no state, so nothing to save, and the same for any number of workers.

B samples of a batch, C channels, H x W pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from trainers.data.config import Augment
from trainers.data.sets import ImageSet
from trainers.seeds import generator
from zoo.errors import BadInputError


@dataclass(frozen=True, eq=False)
class Batches:
    """The training batches of one worker.

    Order and augmentation of a *global* batch of `size` samples follow from the seed and the step alone; a
    worker takes its slice. What does not fill a batch at the end of an epoch is left out of that epoch.

    Raises:
        BadInputError: a batch is larger than the data or cannot be divided evenly.
    """

    data: ImageSet
    size: int
    seed: int
    rank: int = 0
    world: int = 1
    augment: Augment | None = None

    def __post_init__(self) -> None:
        """Refuse sizes that do not go together."""
        if self.size > len(self.data):
            raise BadInputError(f"batch: {self.size} is more than the {len(self.data)} training samples")
        self._share(1)
        if self.augment and self.augment.crop >= self.data.images.shape[1]:
            raise BadInputError(
                f"data.augment.crop: {self.augment.crop} pixels of padding; "
                f"legal: less than the image size {self.data.images.shape[1]}"
            )

    @property
    def steps_per_epoch(self) -> int:
        """Whole global batches in an epoch."""
        return len(self.data) // self.size

    def batch(self, step: int, part: int = 0, parts: int = 1) -> tuple[Tensor, Tensor]:
        """Micro-batch `part` of `parts` of this worker's share of global step `step`.

        Returns normalised images, float32 (B, C, H, W), and labels, int64 (B,).
        """
        count = self._share(parts)
        start = (self.rank * parts + part) * count
        chosen = slice(start, start + count)
        epoch, position = divmod(step, self.steps_per_epoch)
        order = _order(len(self.data), self.seed, epoch)
        index = order[position * self.size : (position + 1) * self.size][chosen]
        x_BHWC = self.data.images[self.data.rows[index]]
        if self.augment is None:
            x_BCHW = x_BHWC.transpose(0, 3, 1, 2)
        else:
            corner_B2, flip_B = self._draw(self.augment, step)
            x_BCHW = crop_and_flip(x_BHWC, self.augment.crop, corner_B2[chosen], flip_B[chosen])
        return _normalised(x_BCHW, self.data), torch.tensor(self.data.labels[index])

    def _share(self, parts: int) -> int:
        """Samples of one micro-batch of one worker."""
        if self.size % (self.world * parts):
            raise BadInputError(f"batch: {self.size} is not divisible by {self.world} workers x {parts} micro-batches")
        return self.size // (self.world * parts)

    def _draw(self, augment: Augment, step: int) -> tuple[np.ndarray, np.ndarray]:
        """For the whole global batch, so that it does not depend on how the batch is divided."""
        random = generator(self.seed, "augment", step)
        corner_B2 = torch.randint(2 * augment.crop + 1, (self.size, 2), generator=random)
        flip_B = torch.rand(self.size, generator=random) < (0.5 if augment.flip else 0)
        return corner_B2.numpy(), flip_B.numpy()


def crop_and_flip(x_BHWC: np.ndarray, pad: int, corner_B2: np.ndarray, flip_B: np.ndarray) -> np.ndarray:
    """Pad each image with `pad` zeros on all sides, cut (C, H, W) at `corner`, mirror where `flip` says."""
    height, width = x_BHWC.shape[1:3]
    padded = np.pad(x_BHWC, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    windows = sliding_window_view(padded, (height, width), axis=(1, 2))
    x_BCHW = windows[np.arange(len(x_BHWC)), corner_B2[:, 0], corner_B2[:, 1]]
    x_BCHW[flip_B] = x_BCHW[flip_B, :, :, ::-1]
    return x_BCHW


def eval_batches(data: ImageSet, size: int, rank: int = 0, world: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
    """Every sample exactly once over all workers, in batches of at most `size`, without augmentation.

    All workers get equally many batches, as ZeRO 3 exchanges weights in every forward pass; the sizes differ
    by at most one. A batch can be empty only if there are fewer samples than workers, or if `size` is 1.
    """
    pieces = -(-len(data) // (size * world)) * world
    for piece in range(rank, pieces, world):
        index = slice(len(data) * piece // pieces, len(data) * (piece + 1) // pieces)
        x_BHWC = data.images[data.rows[index]]
        yield _normalised(x_BHWC.transpose(0, 3, 1, 2), data), torch.tensor(data.labels[index])


def _normalised(x_BCHW: np.ndarray, data: ImageSet) -> Tensor:
    mean_C11, std_C11 = (torch.tensor(values).view(-1, 1, 1) * 255 for values in (data.mean, data.std))
    x = torch.from_numpy(np.ascontiguousarray(x_BCHW)).float()
    return x.sub_(mean_C11).div_(std_C11)


@lru_cache(maxsize=2)
def _order(samples: int, seed: int, epoch: int) -> np.ndarray:
    return torch.randperm(samples, generator=generator(seed, "order", epoch)).numpy()
