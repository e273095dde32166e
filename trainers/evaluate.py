"""Scores of a model on held-out data: every sample once, over all workers."""

import torch

from trainers.dataset import Dataset
from trainers.inputs import Forward, to_device
from trainers.objectives import Objective
from trainers.parametrization import Parametrization
from trainers.world import World


@torch.no_grad()
def evaluate(
    forward: Forward, module: Parametrization, objective: Objective, data: Dataset, world: World
) -> dict[str, float]:
    """The objective's scores over the whole evaluation split of the data, the same on every worker."""
    module.to(world.device).eval()
    totals: dict[str, torch.Tensor] = {}
    for x, y in data.evaluation(world):
        for name, value in objective.sums(forward, to_device(x, world.device), y.to(world.device)).items():
            totals[name] = totals.get(name, 0) + value.double()
    sums = world.sum(torch.stack(list(totals.values()))).tolist()
    return objective.scores(dict(zip(totals, sums, strict=True)))
