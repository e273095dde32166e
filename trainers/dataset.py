"""`Dataset`: what a training needs of the data, opened for training and for scoring."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from trainers.data.batches import Batches, eval_batches
from trainers.data.config import Augment, Data
from trainers.data.sets import ImageSet, open_data
from trainers.world import World
from zoo.manifest import Preprocessing

EVAL_BATCH = 512


@dataclass(frozen=True)
class Dataset:
    """Training samples with their augmentation, and the held-out samples that scores are measured on."""

    train: ImageSet
    held_out: ImageSet
    augment: Augment | None

    @classmethod
    def open(cls, spec: Data, held_out: str) -> "Dataset":
        """Open the data of a recipe. `held_out`: `validation` while choosing, `test` to report."""
        assert held_out in ("validation", "test"), held_out
        return cls(open_data(spec, "train"), open_data(spec, held_out), spec.augment)

    @property
    def preprocessing(self) -> Preprocessing:
        """How images became inputs; ready models carry it along."""
        return Preprocessing(mean=self.train.mean, std=self.train.std)

    def batches(self, batch: int, seed: int, world: World) -> Batches:
        """The training batches of this worker."""
        return Batches(self.train, batch, seed, world.rank, world.size, self.augment)

    def evaluation(self, world: World) -> Iterator[tuple[Tensor, Tensor]]:
        """This worker's share of the held-out samples."""
        return eval_batches(self.held_out, EVAL_BATCH, world.rank, world.size)
