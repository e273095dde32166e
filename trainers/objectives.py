"""What a training minimises, and how held-out samples are scored."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from math import exp

from torch import Tensor
from torch.nn.functional import cross_entropy

from trainers.inputs import Forward, Inputs

IGNORED = -100
"""The target of a position that nothing is to be predicted for."""
_LARGEST_EXPONENT = 700.0  # exp of more is no float


class Objective(ABC):
    """A loss of one batch. It calls `forward` itself, so it decides what the model is fed.

    Gradients are averaged over micro-batches and workers, all of one size: the loss must be a mean over samples, or
    over something of which every sample has equally many.
    """

    @abstractmethod
    def __call__(self, forward: Forward, x: Inputs, y: Tensor) -> Tensor:
        """The mean loss of the batch (a scalar, fp32)."""

    @abstractmethod
    def sums(self, forward: Forward, x: Inputs, y: Tensor) -> dict[str, Tensor]:
        """What is added up over all held-out batches of all workers: scalars, the same names for every batch."""

    @abstractmethod
    def scores(self, sums: Mapping[str, float]) -> dict[str, float]:
        """The scores of the whole held-out set from its sums; `eval_loss` is one of them."""


class Task(Objective):
    """The task's own loss, cross-entropy: over classes, or over the vocabulary at every position with a target.

    Logits are `(B, classes)` with targets `(B,)`, or `(B, T, vocab)` with targets `(B, T)`, where -100 is no target.
    The loss is the mean over the targets of a micro-batch. Text data have equally many targets in every sample
    (see `trainers.data.text_sets`), so this is the mean of the global batch, however it is divided.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def __call__(self, forward: Forward, x: Inputs, y: Tensor) -> Tensor:
        """Cross-entropy with label smoothing."""
        return _cross_entropy(forward(x), y, "mean", self.label_smoothing)

    def sums(self, forward: Forward, x: Inputs, y: Tensor) -> dict[str, Tensor]:
        """Without label smoothing."""
        logits = forward(x)
        sums = {"loss": _cross_entropy(logits, y, "sum"), "count": (y != IGNORED).sum()}
        if y.dim() == 1:
            sums["correct"] = (logits.argmax(dim=-1) == y).sum()
        return sums

    def scores(self, sums: Mapping[str, float]) -> dict[str, float]:
        """`eval_loss` (mean over samples or tokens), and `accuracy` (share, 0..1) or `perplexity` (e^eval_loss)."""
        loss = sums["loss"] / sums["count"]
        if "correct" in sums:
            return {"accuracy": sums["correct"] / sums["count"], "eval_loss": loss}
        return {"perplexity": exp(min(loss, _LARGEST_EXPONENT)), "eval_loss": loss}


def _cross_entropy(logits: Tensor, targets: Tensor, reduction: str, label_smoothing: float = 0.0) -> Tensor:
    return cross_entropy(
        logits.flatten(0, -2).float(),
        targets.flatten(),
        ignore_index=IGNORED,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )
