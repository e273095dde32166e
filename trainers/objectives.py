"""What a training minimises."""

from abc import ABC, abstractmethod

from torch import Tensor
from torch.nn.functional import cross_entropy


class Objective(ABC):
    """A loss from a model's outputs and the targets of one batch."""

    @abstractmethod
    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of the batch (a scalar, fp32)."""


class Task(Objective):
    """The task's own loss: cross-entropy over classes."""

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """`outputs` are logits `(B, classes)`, `targets` class numbers `(B,)`."""
        return cross_entropy(outputs.float(), targets, label_smoothing=self.label_smoothing)
