"""Scores of a model on held-out data: every sample once, over all workers."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from trainers.dataset import Dataset
from trainers.parametrization import Parametrization
from trainers.world import World


@torch.no_grad()
def evaluate(
    forward: Callable[[Tensor], Tensor], module: Parametrization, data: Dataset, world: World
) -> dict[str, float]:
    """`accuracy` (share, 0..1) and `eval_loss` (mean cross-entropy) on the data's evaluation split."""
    module.to(world.device).eval()
    sums = torch.zeros(3, dtype=torch.float64, device=world.device)
    for x, y in data.evaluation(world):
        logits, labels = forward(x.to(world.device)).float(), y.to(world.device)
        correct = (logits.argmax(dim=-1) == labels).sum()
        sums += torch.stack(
            [
                correct.double(),
                cross_entropy(logits, labels, reduction="sum").double(),
                correct.new_tensor(len(labels)).double(),
            ]
        )
    correct, loss, count = world.sum(sums).tolist()
    return {"accuracy": correct / count, "eval_loss": loss / count}
