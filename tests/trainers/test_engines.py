"""Engines on two workers over gloo give what one worker gives, and go on after an interruption."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from deepspeed_worker import launch
from hypothesis import given
from hypothesis import strategies as st
from pico import pico_arch, pico_data, pico_learngene
from pico_text import text_data, tiny_arch, tiny_learngene, write_corpus

from trainers.config import Execution, Training
from trainers.engines import micro_batches
from trainers.loop import train
from trainers.metrics import read_metrics
from trainers.objectives import Task
from trainers.parametrization import Composed, Plain
from zoo.errors import BadInputError


@pytest.fixture(scope="module")
def extensions(torch_extensions: Path) -> str:
    """Where DeepSpeed has compiled, before two workers want it at once."""
    folder = str(torch_extensions)
    code = "from trainers.deepspeed_ops import build_ops; build_ops()"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "TORCH_EXTENSIONS_DIR": folder})
    return folder


Leg = tuple[int, str, int]
"""Workers, engine and ZeRO stage of one attempt."""


def attempt(leg: Leg, kind: str, stop_at: int, folder: Path, extensions: str) -> int:
    """Train from the last checkpoint, and die at step `stop_at` before it is saved (0: finish); the exit code."""
    workers, engine, zero = leg
    execution = Execution.model_validate({"engine": engine, "zero": zero, "micro_batch": 8, "checkpoint_every": 3})
    environment = {"TORCH_EXTENSIONS_DIR": extensions, "DS_ACCELERATOR": "cpu"}
    return launch(workers, environment, (kind, execution, stop_at, folder))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "legs"),
    [
        ("plain", [(2, "torch", 0), (1, "torch", 0), (3, "torch", 0)]),
        ("plain", [(2, "deepspeed", 3), (3, "deepspeed", 3)]),
        ("composed", [(2, "torch", 0), (2, "deepspeed", 0)]),
        ("composed", [(2, "deepspeed", 0), (3, "deepspeed", 1)]),
        ("composed", [(3, "deepspeed", 1), (1, "deepspeed", 2), (2, "torch", 0)]),
        ("text-plain", [(2, "torch", 0), (2, "deepspeed", 3)]),
        ("text-plain", [(2, "deepspeed", 3), (1, "torch", 0)]),
        ("text-composed", [(2, "deepspeed", 2), (3, "deepspeed", 2)]),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(f"{w}{e[0]}{z}" for w, e, z in value),
)
def test_workers_that_are_cut_off_and_change_in_number_end_where_one_undisturbed_worker_ends(
    kind: str, legs: list[Leg], tmp_path: Path, extensions: str
) -> None:
    """Two, then one, then three workers; from any engine and ZeRO stage to any other."""
    text = kind.startswith("text")
    arch, learngene = (tiny_arch(), tiny_learngene()) if text else (pico_arch(), pico_learngene())
    alone = Plain(arch, seed=1) if kind.endswith("plain") else Composed(learngene, masked=0.5)
    data = text_data(write_corpus(tmp_path / "corpus"), "masked") if text else pico_data()
    train(alone, Task(), data, Training(steps=9, batch=32, lr=3e-3), Execution(), tmp_path / "alone")
    for number, leg in enumerate(legs[:-1], start=1):
        assert attempt(leg, kind, 3 * number + 3, tmp_path, extensions) != 0
        steps = sorted(path.name for path in (tmp_path / "checkpoints").glob("step-*"))
        assert steps[-1] == f"step-{3 * number:09d}"
    assert attempt(legs[-1], kind, 0, tmp_path, extensions) == 0
    together = torch.load(tmp_path / "end.pt", weights_only=True)
    for name, parameter in alone.named_parameters():
        torch.testing.assert_close(together[name], parameter.detach(), rtol=1e-3, atol=1e-4, msg=name)
    ends = [read_metrics(path / "metrics.jsonl")[-1] for path in (tmp_path, tmp_path / "alone")]
    flops = [end.pop("flops") for end in ends]
    assert 0.9 <= flops[0] / flops[1] < (1.1 if kind.endswith("plain") else 1.7)  # every worker expands the templates
    assert ends[0] == pytest.approx(ends[1], rel=1e-3)
    assert ends[0].keys() == {"step", "eval_loss", "perplexity" if text else "accuracy"}


def test_workers_exchange_gradients_once_a_step_however_many_micro_batches(tmp_path: Path) -> None:
    code = """
import torch
import torch.distributed as dist
from deepspeed_worker import launch
from pico import pico_arch
from trainers.config import Execution, Training
from trainers.engines.plain_torch import TorchEngine
from trainers.metrics import read_metrics
from trainers.objectives import Task
from trainers.parametrization import Plain
from trainers.world import World

dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
pretended = World(0, 2, torch.device("cpu"))  # an engine exchanges gradients where there are several workers
engine = TorchEngine(Plain(pico_arch()), Training(steps=1), Execution(), pretended, parts=4)
seen = []

def hook(state, bucket):
    seen.append(1)
    done = torch.futures.Future()
    done.set_result(bucket.buffer())
    return done

engine._call.register_comm_hook(None, hook)
for part in range(4):
    engine.accumulate(torch.zeros(2, 1, 8, 8), torch.zeros(2, dtype=torch.long), Task(), part, 0.25)
print(len(seen))
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_zero_3_is_refused_for_a_learngene_with_the_reason(tmp_path: Path) -> None:
    execution = Execution(engine="deepspeed", zero=3)
    with pytest.raises(BadInputError, match="composed from all templates at once; legal values: 0, 1, 2"):
        train(Composed(pico_learngene()), Task(), pico_data(), Training(steps=1, batch=8), execution, tmp_path)


@given(st.integers(1, 200), st.integers(1, 40) | st.none(), st.integers(1, 12))
def test_every_part_of_every_worker_has_a_sample_and_none_more_than_the_micro_batch(
    batch: int, micro: int | None, workers: int
) -> None:
    workers = min(workers, batch)
    parts = micro_batches(batch, micro, workers)
    pieces = [batch * (i + 1) // (workers * parts) - batch * i // (workers * parts) for i in range(workers * parts)]
    assert min(pieces) >= 1
    assert max(pieces) <= max(2 if batch % workers else 1, micro or batch)
    assert parts == 1 or micro


def test_more_workers_than_samples_in_a_batch_are_refused() -> None:
    with pytest.raises(BadInputError, match=r"train\.batch: 2 .* 3 workers .*legal: at most 2 workers"):
        micro_batches(2, None, 3)
