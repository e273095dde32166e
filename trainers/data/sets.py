"""`ImageSet`: one split of a data set, ready for random access."""

from dataclasses import dataclass

import numpy as np

from trainers.data.config import Digits, Split, WebDataset
from trainers.data.decoded import decoded
from trainers.data.split import held_out
from trainers.data.writer import OnDecoded
from zoo.errors import BadInputError


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A split.

    images: uint8 (., H, W, C), memory-mapped; may hold samples of other splits.
    rows: int64 (N,), which images belong to this split.
    labels: int64 (N,), each in 0..classes-1.
    mean, std: of the channels of the training images, in units of 0..1.
    skipped: how many samples of the files could not be used.
    """

    images: np.ndarray
    rows: np.ndarray
    labels: np.ndarray
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    skipped: int = 0

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.rows)


def open_data(spec: Digits | WebDataset, split: Split, on_decoded: OnDecoded | None = None) -> ImageSet:
    """A split of the data that a recipe names, decoded if this node has not done so.

    `validation` is cut from the training samples, the same ones every time. The statistics are those of the
    training images before that cut, for every split, so that all are normalised alike.
    """
    train = decoded(spec, "train", on_decoded)
    part = decoded(spec, "test", on_decoded) if split == "test" else train
    rows = np.arange(len(part.labels))
    if split != "test":
        rows = rows[held_out(part.labels, spec.validation) == (split == "validation")]
    if not len(rows):
        raise BadInputError(
            f"data.validation: the share {spec.validation} of {len(part.labels)} training samples is none"
        )
    return ImageSet(part.images, rows, part.labels[rows], spec.classes, train.mean, train.std, part.bad + part.lost)
