"""`ImageSet`: one split of a data set of images.

B samples, C channels, H x W pixels.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from trainers.data.augment import crop_and_flip
from trainers.data.config import Augment, Digits, Split, WebDataset
from trainers.data.decoded import decoded
from trainers.data.samples import Draws, Samples
from trainers.data.split import rows_of
from zoo.errors import BadInputError
from zoo.manifest import Preprocessing


@dataclass(frozen=True, eq=False)
class ImageSet(Samples):
    """A split of images. Inputs are normalised, float32 (B, C, H, W); targets are classes, int64 (B,).

    images: uint8 (., H, W, C), memory-mapped; may hold samples of other splits.
    rows: int64 (N,), which images belong to this split.
    labels: int64 (N,), each in 0..classes-1.
    mean, std: of the channels of the training images, in units of 0..1.
    augment: what training does to the images; evaluation shows them as they are.
    """

    images: np.ndarray
    rows: np.ndarray
    labels: np.ndarray
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    skipped: int = 0
    augment: Augment = field(default_factory=Augment)

    def __post_init__(self) -> None:
        """Refuse a padding as large as the images."""
        if self.augment.crop >= self.images.shape[1]:
            raise BadInputError(
                f"data.augment.crop: {self.augment.crop} pixels of padding; "
                f"legal: less than the image size {self.images.shape[1]}"
            )

    @property
    def preprocessing(self) -> Preprocessing:
        """The normalisation of the channels."""
        return Preprocessing(mean=self.mean, std=self.std)

    def __len__(self) -> int:
        """The number of images in this split."""
        return len(self.rows)

    def draw(self, random: torch.Generator, count: int) -> Draws:
        """The corner (B, 2) at which each padded image is cut, and whether it is mirrored (B,)."""
        corner_B2 = torch.randint(2 * self.augment.crop + 1, (count, 2), generator=random)
        flip_B = torch.rand(count, generator=random) < (0.5 if self.augment.flip else 0)
        return corner_B2, flip_B

    def training(self, index: np.ndarray, draws: Draws) -> tuple[Tensor, Tensor]:
        """Augmented images."""
        corner_B2, flip_B = (draw.numpy() for draw in draws)
        x_BCHW = crop_and_flip(self.images[self.rows[index]], self.augment.crop, corner_B2, flip_B)
        return self._normalised(x_BCHW), torch.tensor(self.labels[index])

    def evaluation(self, index: np.ndarray) -> tuple[Tensor, Tensor]:
        """Images as they are."""
        x_BHWC = self.images[self.rows[index]]
        return self._normalised(x_BHWC.transpose(0, 3, 1, 2)), torch.tensor(self.labels[index])

    def _normalised(self, x_BCHW: np.ndarray) -> Tensor:
        mean_C11, std_C11 = (torch.tensor(values).view(-1, 1, 1) * 255 for values in (self.mean, self.std))
        x = torch.from_numpy(np.ascontiguousarray(x_BCHW)).float()
        return x.sub_(mean_C11).div_(std_C11)


def open_images(spec: Digits | WebDataset, split: Split) -> ImageSet:
    """A split of the images that a recipe names, decoded if this node has not done so.

    `validation` is cut from the training samples, the same ones every time. The statistics are those of the
    training images before that cut, for every split, so that all are normalised alike.
    """
    train = decoded(spec, "train")
    part = decoded(spec, "test") if split == "test" else train
    rows = rows_of(split, part.labels, spec.validation)
    skipped = part.bad + part.lost
    labels = part.labels[rows]
    return ImageSet(part.images, rows, labels, spec.classes, train.mean, train.std, skipped, spec.augment)
