"""FRONT+: the penalty is the energy that FRONT would drop, and it starts at the wanted share of the task's loss."""

from math import ceil
from pathlib import Path

import pytest
import scipy.fft
import torch
from pico import pico_arch, pico_data
from torch import Tensor

from trainers.config import Execution, Training
from trainers.loop import train
from trainers.objectives import Task
from trainers.parametrization import Plain
from trainers.refinement import Refinement, Spectrum
from trainers.world import World
from zoo import BadInputError

MAPS = ("attn.qkv.weight", "attn.proj.weight", "mlp.fc1.weight", "mlp.fc2.weight")


def naive(module: Plain, spectrum: Spectrum) -> float:
    """The formula written down: a full transform of every map, a full mask."""
    stacks = module.arch.stack(dict(module.model.named_parameters()))
    energies = []
    for name in MAPS:
        x = stacks["blocks.{layer}." + name].detach().double()
        axes = [0, 2, 3] if "qkv" in name else [0, 1, 2]
        low = torch.ones(())
        for i in range(x.ndim):
            n, u = x.shape[i], torch.arange(x.shape[i]).double()
            hard = (u < ceil(spectrum.keep * n)).double()
            share = hard if spectrum.mask == "hard" else torch.exp(-spectrum.gamma * u / n)
            low = low[..., None] * (share if i in axes else torch.ones(n))
        coefficients = torch.from_numpy(scipy.fft.dctn(x.numpy(), axes=axes, norm="ortho"))
        energies.append(((1 - low) * coefficients.square()).mean())
    return float(torch.stack(energies).mean())


@pytest.mark.parametrize("spectrum", [Spectrum(keep=0.5), Spectrum(mask="soft", gamma=3.0)], ids=lambda s: s.mask)
def test_the_penalty_is_the_mean_masked_energy_of_the_maps(spectrum: Spectrum) -> None:
    module = Plain(pico_arch(), seed=1)
    penalty = Refinement(Task(), module, spectrum, 1.0).penalty()
    assert penalty.item() == pytest.approx(naive(module, spectrum), rel=1e-4)


@pytest.mark.parametrize("share", [0.01, 0.1])
def test_the_penalty_starts_at_its_share_of_the_loss(share: float) -> None:
    module, data = Plain(pico_arch(), seed=1), pico_data()
    objective = Refinement.balanced(Task(), module, data, Spectrum(), share)
    x, y = next(iter(data.evaluation(World.current())))
    with torch.no_grad():
        task, both = Task()(module, x, y), objective(module, x, y)
    torch.testing.assert_close(both / task, torch.tensor(1 + share))


def test_nothing_above_the_kept_corner_cannot_be_suppressed() -> None:
    with pytest.raises(BadInputError, match=r"keep: 1.0 leaves no high frequencies"):
        Refinement.balanced(Task(), Plain(pico_arch(), seed=1), pico_data(), Spectrum(keep=1.0), 0.1)


def test_training_moves_energy_into_the_kept_corner(tmp_path: Path) -> None:
    def high_share(share: float) -> Tensor:
        module, data = Plain(pico_arch(), seed=1), pico_data()
        objective = Refinement.balanced(Task(), module, data, Spectrum(), share)
        training = Training(steps=12, batch=32, lr=3e-3, weight_decay=0.0)
        train(module, objective, data, training, Execution(), tmp_path / str(share))
        stacks = module.arch.stack(dict(module.model.named_parameters()))
        whole = torch.stack([stacks["blocks.{layer}." + name].square().mean() for name in MAPS]).mean()
        return objective.penalty() / whole

    assert high_share(1.0) < high_share(1e-6)
