"""`Dataset`: what a training needs of the data, opened for training and for scoring."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from trainers.data.batches import Batches, eval_batches
from trainers.data.config import Data, Split, Text
from trainers.data.samples import Samples
from trainers.data.sets import open_images
from trainers.data.text_sets import open_text
from trainers.inputs import Inputs
from trainers.world import World
from zoo.errors import BadInputError
from zoo.manifest import Preprocessing


@dataclass(frozen=True)
class Dataset:
    """Training samples, and the held-out samples that scores are measured on."""

    train: Samples
    held_out: Samples

    @classmethod
    def open(cls, spec: Data, held_out: Literal["validation", "test"]) -> "Dataset":
        """Open the data of a recipe. `held_out`: `validation` while choosing, `test` to report."""
        return cls(_open(spec, "train"), _open(spec, held_out))

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How images became inputs (None for text); ready models carry it along."""
        return self.train.preprocessing

    @property
    def tokenizer(self) -> str | None:
        """The `tokenizer.json` with which text became inputs (None for images); ready models carry it along."""
        return self.train.tokenizer

    def batches(self, batch: int, seed: int, world: World) -> Batches:
        """The training batches of this worker. Raises `BadInputError` if it would have nothing to train or score."""
        if len(self.held_out) < world.size:
            raise BadInputError(
                f"resources.workers: {world.size} are more than the {len(self.held_out)} held-out samples; "
                "raise data.validation or data.limit, or take fewer workers"
            )
        return Batches(self.train, batch, seed, world.rank, world.size)

    def evaluation(self, world: World) -> Iterator[tuple[Inputs, Tensor]]:
        """This worker's share of the held-out samples."""
        return eval_batches(self.held_out, self.held_out.evaluated_at_once, world.rank, world.size)


def _open(spec: Data, split: Split) -> Samples:
    return open_text(spec, split) if isinstance(spec, Text) else open_images(spec, split)
