"""The denoising objective: DDPM's schedule, noise of the right size, dropped classes, comparable scores."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from trainers.diffusion import DROPPED, STEPS, Denoising
from trainers.inputs import Inputs

CLASSES = 7


def seen(calls: int = 1, batch: int = 4000) -> dict[str, Tensor]:
    """What a model is fed for white images of class 3."""
    fed: list[dict[str, Tensor]] = []

    def forward(x: Inputs) -> Tensor:
        assert isinstance(x, dict)
        fed.append(x)
        return torch.zeros_like(x["x"])

    for call in range(calls):
        torch.manual_seed(call)
        Denoising(CLASSES)(forward, torch.ones(batch, 1, 4, 4), torch.full((batch,), 3))
    return {name: torch.cat([x[name] for x in fed]) for name in fed[0]}


def test_the_schedule_is_the_published_one() -> None:
    objective, one = Denoising(CLASSES), torch.ones(3, 1, 1, 1)
    t = torch.tensor([0, 500, STEPS - 1])
    signal = objective.noised(one, t, torch.zeros_like(one)).flatten()
    noise = objective.noised(torch.zeros_like(one), t, one).flatten()
    assert signal[0].item() == pytest.approx((1 - 1e-4) ** 0.5, rel=1e-6)
    assert signal[2].item() ** 2 == pytest.approx(4.0358e-5, rel=1e-3)  # the product of 1 - beta over all steps
    torch.testing.assert_close(signal.square() + noise.square(), torch.ones(3))


def test_steps_are_uniform_and_noise_has_the_variance_of_its_step() -> None:
    fed = seen(calls=3)
    t = fed["t"]
    assert t.dtype == torch.int64
    assert (t.min(), t.max()) == (0, STEPS - 1)
    assert t.double().mean().item() == pytest.approx((STEPS - 1) / 2, rel=0.02)
    late, early = fed["x"][t > 900], fed["x"][t < 20]
    assert late.std().item() == pytest.approx(1, abs=0.03)
    assert late.mean().item() == pytest.approx(0, abs=0.03)
    assert early.mean().item() == pytest.approx(1, abs=0.03)


def test_a_tenth_of_the_classes_is_dropped_to_the_null_class() -> None:
    y = seen()["y"]
    assert set(y.tolist()) == {3, CLASSES}
    assert (y == CLASSES).double().mean().item() == pytest.approx(DROPPED, abs=0.02)


def test_the_loss_is_the_mean_square_of_what_is_missed() -> None:
    x, y = torch.zeros(64, 2, 8, 8), torch.zeros(64, dtype=torch.long)
    objective = Denoising(CLASSES)
    torch.manual_seed(0)
    nothing = objective(lambda fed: torch.zeros_like(named(fed)["x"]), x, y)
    assert nothing.item() == pytest.approx(1, abs=0.05)
    torch.manual_seed(0)
    everything = objective(exact(objective), x, y)
    assert everything.item() == pytest.approx(0, abs=1e-6)


def named(x: Inputs) -> dict[str, Tensor]:
    assert isinstance(x, dict)
    return x


def exact(objective: Denoising) -> Callable[[Inputs], Tensor]:
    """A model that knows that all images are black."""

    def forward(x: Inputs) -> Tensor:
        fed = named(x)
        scale = objective.noised(torch.zeros_like(fed["x"]), fed["t"], torch.ones_like(fed["x"]))
        return fed["x"] / scale

    return forward


def test_the_same_seed_draws_the_same_and_another_one_differs() -> None:
    first, again = seen(), seen()
    assert torch.equal(first["x"], again["x"])
    both = seen(calls=2)["x"]
    assert not torch.equal(both[:4000], both[4000:])


def test_scores_do_not_depend_on_seeds_or_on_how_samples_are_batched() -> None:
    x, y = torch.randn(10, 1, 4, 4), torch.randint(CLASSES, (10,))
    objective = Denoising(CLASSES)

    def forward(fed: Inputs) -> Tensor:
        assert set(named(fed)["y"].tolist()) <= set(y.tolist())  # no class is dropped
        return named(fed)["x"] * 0.5

    whole = objective.sums(forward, x, y)
    torch.manual_seed(1234)
    parts = [objective.sums(forward, x[at], y[at]) for at in (slice(7, 10), slice(0, 7))]
    for name, value in whole.items():
        torch.testing.assert_close(sum(part[name] for part in parts), value)
    scores = objective.scores({name: value.item() for name, value in whole.items()})
    assert scores == {"eval_loss": pytest.approx(whole["loss"].item() / 10)}


def test_noise_differs_between_samples_of_evaluation() -> None:
    fed: list[Tensor] = []

    def forward(x: Inputs) -> Tensor:
        fed.append(named(x)["t"])
        return named(x)["x"]

    Denoising(CLASSES).sums(forward, torch.randn(50, 1, 4, 4), torch.zeros(50, dtype=torch.long))
    assert len(fed[0].unique()) > 30
