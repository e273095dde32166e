"""Losses and scores, against sums by hand; scores are those of the whole set however it is divided."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import exp, log
from threading import Barrier

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pico import pico_arch
from torch import Tensor

from trainers.data.samples import Draws, Samples
from trainers.dataset import Dataset
from trainers.evaluate import evaluate
from trainers.inputs import Forward, Inputs, call
from trainers.objectives import Task
from trainers.parametrization import Plain
from trainers.world import World

X = torch.zeros(())
MODULE = Plain(pico_arch())


def same(x: Inputs) -> Tensor:
    assert isinstance(x, Tensor)
    return x


def always(logits: Tensor) -> Forward:
    return lambda _: logits


def test_the_loss_of_classes_is_the_mean_over_samples() -> None:
    probabilities = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]])
    loss = Task()(always(probabilities.log()), X, torch.tensor([0, 1]))
    assert loss.item() == pytest.approx(-(log(0.5) + log(0.2)) / 2)


def test_the_loss_of_tokens_is_the_mean_over_positions_with_a_target() -> None:
    probabilities = torch.tensor([[[0.5, 0.5], [0.1, 0.9], [0.3, 0.7]], [[0.2, 0.8], [0.6, 0.4], [0.5, 0.5]]])
    y = torch.tensor([[0, -100, 1], [-100, 0, -100]])
    loss = Task()(always(probabilities.log()), X, y)
    assert loss.item() == pytest.approx(-(log(0.5) + log(0.7) + log(0.6)) / 3)


def test_a_position_without_target_has_no_gradient() -> None:
    logits = torch.randn(2, 3, 5, requires_grad=True)
    y = torch.tensor([[0, -100, 1], [-100, 4, -100]])
    Task()(always(logits), X, y).backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad.abs().sum(-1) > 0, y != -100)


def test_smoothing_is_for_training_only() -> None:
    logits = torch.tensor([[2.0, 0.0]])
    y = torch.tensor([0])
    smooth, plain = Task(0.2), Task()
    assert smooth(always(logits), X, y) > plain(always(logits), X, y)
    assert smooth.scores(sums(smooth, logits, y)) == plain.scores(sums(plain, logits, y))


def test_half_precision_outputs_are_scored_in_single_precision() -> None:
    logits = torch.randn(4, 7, dtype=torch.bfloat16)
    y = torch.tensor([0, 1, 2, 3])
    assert Task()(always(logits), X, y).dtype == torch.float32
    assert Task()(always(logits), X, y) == Task()(always(logits.float()), X, y)


def sums(task: Task, logits: Tensor, y: Tensor) -> dict[str, float]:
    return {name: value.item() for name, value in task.sums(always(logits), X, y).items()}


def test_images_are_scored_by_accuracy_and_loss() -> None:
    probabilities = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [0.1, 0.8, 0.1]])
    scores = Task().scores(sums(Task(), probabilities.log(), torch.tensor([0, 1, 1])))
    expected = -(log(0.5) + log(0.2) + log(0.8)) / 3
    assert scores == {"accuracy": pytest.approx(2 / 3), "eval_loss": pytest.approx(expected)}


def test_language_is_scored_by_perplexity_and_loss_over_its_targets() -> None:
    probabilities = torch.tensor([[[0.5, 0.5], [0.1, 0.9]], [[0.25, 0.75], [0.5, 0.5]]])
    scores = Task().scores(sums(Task(), probabilities.log(), torch.tensor([[0, -100], [0, 1]])))
    loss = -(log(0.5) + log(0.25) + log(0.5)) / 3
    assert scores == {"perplexity": pytest.approx((0.5 * 0.25 * 0.5) ** (-1 / 3)), "eval_loss": pytest.approx(loss)}


def test_a_uniform_guess_has_the_perplexity_of_the_vocabulary() -> None:
    scores = Task().scores(sums(Task(), torch.zeros(2, 5, 37), torch.randint(37, (2, 5))))
    assert scores["perplexity"] == pytest.approx(37)


def test_a_hopeless_loss_still_has_a_perplexity() -> None:
    assert Task().scores({"loss": 1e6, "count": 10.0}) == {"perplexity": exp(700), "eval_loss": 1e5}


def test_the_loss_of_causal_blocks_is_the_one_that_transformers_computes() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=2)).eval()
    block = torch.randint(20, (3, 8))
    ours = Task()(lambda x: call(model, x), {"input_ids": block[:, :-1]}, block[:, 1:])
    torch.testing.assert_close(ours, model(input_ids=block, labels=block).loss)


@dataclass(frozen=True)
class Numbers(Samples):
    """Logits as inputs; some targets are none."""

    logits: Tensor
    targets: Tensor
    size: int

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def evaluated_at_once(self) -> int:
        return self.size

    def draw(self, random: torch.Generator, count: int) -> Draws:
        return ()

    def training(self, index: np.ndarray, draws: Draws) -> tuple[Inputs, Tensor]:
        return self.evaluation(index)

    def evaluation(self, index: np.ndarray) -> tuple[Inputs, Tensor]:
        return self.logits[index], self.targets[index]


class Together(World):
    """One of several threads that add up as processes of a group do."""

    meeting: Barrier
    brought: list[Tensor]

    def sum(self, values: Tensor) -> Tensor:
        self.brought.append(values)
        self.meeting.wait(timeout=60)
        return torch.stack(self.brought).sum(0)


def threads(workers: int) -> list[Together]:
    worlds = [Together(rank, workers, X.device) for rank in range(workers)]
    meeting, brought = Barrier(workers), []
    for world in worlds:
        world.__dict__.update(meeting=meeting, brought=brought)
    return worlds


@given(st.integers(4, 30), st.integers(2, 7), st.integers(1, 4), st.booleans())
@settings(max_examples=30, deadline=None)
def test_scores_are_those_of_the_whole_set_on_any_number_of_workers(
    samples: int, size: int, workers: int, language: bool
) -> None:
    draw = torch.Generator().manual_seed(samples)
    shape = (samples, 3) if language else (samples,)
    logits = torch.randn(*shape, 5, generator=draw)
    y = torch.randint(5, shape, generator=draw)
    if language:
        y[:, 1:][torch.rand(samples, 2, generator=draw) < 0.5] = -100
    data = Dataset(Numbers(logits, y, size), Numbers(logits, y, size))
    with ThreadPoolExecutor(workers) as pool:
        found = list(pool.map(lambda world: evaluate(same, MODULE, Task(), data, world), threads(workers)))
    whole = Task().scores(sums(Task(), logits, y))
    assert found == [{name: pytest.approx(value, rel=1e-5) for name, value in whole.items()}] * workers
