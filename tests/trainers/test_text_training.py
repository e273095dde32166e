"""Training on text: exact resume, micro-batches, bf16, learning, all with inputs by name."""

from pathlib import Path

import pytest
import torch
from pico_text import text_data, tiny_arch, tiny_learngene, write_corpus
from torch import Tensor

from trainers.config import Execution, Training
from trainers.evaluate import evaluate
from trainers.loop import Progress, train
from trainers.metrics import read_metrics
from trainers.objectives import Task
from trainers.parametrization import Composed, Parametrization, Plain
from trainers.world import World

SETTINGS = Training(steps=12, batch=24, lr=3e-3, evaluate_every=4)
ONE_WORKER = World(0, 1, torch.device("cpu"))


class KilledError(Exception):
    """Stands for `kill -9`: nothing after it runs."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def make(kind: str, dropout: float = 0.0) -> Parametrization:
    if kind == "plain":
        return Plain(tiny_arch(dropout), seed=1)
    return Composed(tiny_learngene(dropout), masked=0.5)


def run(
    module: Parametrization,
    folder: Path,
    corpus: Path,
    task: str = "masked",
    training: Training = SETTINGS,
    *,
    kill_at: int = 0,
    **execution: int,
) -> None:
    def progress(at: Progress) -> None:
        if at.step == kill_at:
            raise KilledError

    settings = Execution.model_validate({"checkpoint_every": 5, **execution})
    train(module, Task(), text_data(corpus, task), training, settings, folder, progress)


def values(module: Parametrization) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in module.named_parameters()}


@pytest.mark.parametrize("kind", ["plain", "composed"])
@pytest.mark.parametrize("task", ["causal", "masked"])
def test_a_killed_training_on_text_ends_bit_for_bit_like_an_undisturbed_one(
    kind: str, task: str, tmp_path: Path, corpus: Path
) -> None:
    whole, resumed = make(kind, 0.1), make(kind, 0.1)
    run(whole, tmp_path / "whole", corpus, task)
    with pytest.raises(KilledError):
        run(make(kind, 0.1), tmp_path / "cut", corpus, task, kill_at=10)
    run(resumed, tmp_path / "cut", corpus, task)
    ended, again = values(whole), values(resumed)
    assert all(torch.equal(ended[name], again[name]) for name in ended)
    assert read_metrics(tmp_path / "whole/metrics.jsonl") == read_metrics(tmp_path / "cut/metrics.jsonl")


def test_micro_batches_of_masked_text_accumulate_to_the_whole_batch(tmp_path: Path, corpus: Path) -> None:
    whole, parts = make("composed"), make("composed")
    run(whole, tmp_path / "whole", corpus)
    run(parts, tmp_path / "parts", corpus, micro_batch=5)
    for a, b in zip(values(whole).values(), values(parts).values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_training_on_text_learns_and_tells_perplexity(tmp_path: Path, corpus: Path) -> None:
    module, data = make("plain"), text_data(corpus)
    before = evaluate(module, module, Task(), data, ONE_WORKER)
    run(module, tmp_path, corpus, "causal", Training(steps=60, batch=24, lr=1e-2, evaluate_every=60))
    assert evaluate(module, module, Task(), data, ONE_WORKER)["perplexity"] < before["perplexity"] / 3
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert {"step", "flops", "perplexity", "eval_loss"} in [row.keys() for row in rows]


def test_bf16_on_text_follows_fp32(tmp_path: Path, corpus: Path) -> None:
    full, half = make("composed"), make("composed")
    run(full, tmp_path / "fp32", corpus)
    run(half, tmp_path / "bf16", corpus, training=SETTINGS.model_copy(update={"precision": "bf16"}))
    assert {p.dtype for p in half.parameters()} == {torch.float32}
    losses = [
        [r["loss"] for r in read_metrics(tmp_path / name / "metrics.jsonl") if "loss" in r] for name in ("fp32", "bf16")
    ]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_a_dataset_of_text_carries_its_tokenizer_and_no_preprocessing(corpus: Path) -> None:
    data = text_data(corpus)
    assert data.preprocessing is None
    assert data.tokenizer is not None
    assert '"[MASK]"' in data.tokenizer
