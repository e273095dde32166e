"""`Samples`: one split of a data set, ready for random access. What is random about a sample is drawn outside."""

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor

from trainers.inputs import Inputs
from zoo.manifest import Preprocessing

Draws = tuple[Tensor, ...]
"""Random numbers for some samples: tensors whose first axis counts the samples."""


class Samples(ABC):
    """Samples by their number in the split."""

    skipped: int = 0
    """How many samples of the files could not be used."""

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How images became inputs."""
        return None

    @property
    def tokenizer(self) -> str | None:
        """The `tokenizer.json` with which text became inputs."""
        return None

    @property
    def evaluated_at_once(self) -> int:
        """How many samples a batch of evaluation has at most, 2 or more."""
        return 512

    @abstractmethod
    def __len__(self) -> int:
        """The number of samples."""

    @abstractmethod
    def draw(self, random: torch.Generator, count: int) -> Draws:
        """What `training` needs for `count` samples: augmentation, masks."""

    @abstractmethod
    def training(self, index: np.ndarray, draws: Draws) -> tuple[Inputs, Tensor]:
        """Inputs and targets of the samples `index`, for training."""

    @abstractmethod
    def evaluation(self, index: np.ndarray) -> tuple[Inputs, Tensor]:
        """Inputs and targets of the samples `index`, the same every time."""
