"""Engines on two workers over gloo give what one worker gives, and go on after an interruption."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pico import pico_arch, pico_data, pico_learngene
from pico_text import text_data, tiny_arch, tiny_learngene, write_corpus

from trainers.config import Execution, Training
from trainers.engines import micro_batches
from trainers.loop import train
from trainers.metrics import read_metrics
from trainers.objectives import Task
from trainers.parametrization import Composed, Plain
from zoo.errors import BadInputError

WORKER = Path(__file__).with_name("deepspeed_worker.py")


@pytest.fixture(scope="module")
def extensions(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where DeepSpeed compiles: once for this module, before two workers want it at once."""
    folder = str(tmp_path_factory.getbasetemp() / "torch_extensions")
    code = "from trainers.engines.zero import build_ops; build_ops()"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "TORCH_EXTENSIONS_DIR": folder})
    return folder


def two_workers(folder: Path, extensions: str, *args: str) -> int:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(WORKER)]
    environment = {**os.environ, "TORCH_EXTENSIONS_DIR": extensions, "OMP_NUM_THREADS": "1"}
    return subprocess.run([*command, *args, str(folder)], env=environment, check=False).returncode


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "engine", "zero"),
    [
        ("plain", "torch", "0"),
        ("composed", "torch", "0"),
        ("composed", "deepspeed", "0"),
        ("composed", "deepspeed", "1"),
        ("composed", "deepspeed", "2"),
        ("plain", "deepspeed", "3"),
        ("text-plain", "torch", "0"),
        ("text-composed", "deepspeed", "2"),
        ("text-plain", "deepspeed", "3"),
    ],
)
def test_two_interrupted_workers_end_where_one_undisturbed_worker_ends(
    kind: str, engine: str, zero: str, tmp_path: Path, extensions: str
) -> None:
    text = kind.startswith("text")
    arch, learngene = (tiny_arch(), tiny_learngene()) if text else (pico_arch(), pico_learngene())
    alone = Plain(arch, seed=1) if kind.endswith("plain") else Composed(learngene, masked=0.5)
    data = text_data(write_corpus(tmp_path / "corpus"), "masked") if text else pico_data()
    train(alone, Task(), data, Training(steps=9, batch=32, lr=3e-3), Execution(), tmp_path / "alone")
    assert two_workers(tmp_path, extensions, kind, engine, zero, "6") != 0  # cut off after step 6, saved at step 3
    assert [path.name for path in (tmp_path / "checkpoints").glob("step-*")] == ["step-000000003"]
    assert two_workers(tmp_path, extensions, kind, engine, zero, "0") == 0
    together = torch.load(tmp_path / "end.pt", weights_only=True)
    for name, parameter in alone.named_parameters():
        torch.testing.assert_close(together[name], parameter.detach(), rtol=1e-3, atol=1e-4, msg=name)
    ends = [read_metrics(path / "metrics.jsonl")[-1] for path in (tmp_path, tmp_path / "alone")]
    flops = [end.pop("flops") for end in ends]
    assert 1 <= flops[0] / flops[1] < (1.001 if kind.endswith("plain") else 1.5)  # every worker expands the templates
    assert ends[0] == pytest.approx(ends[1], rel=1e-3)
    assert ends[0].keys() == {"step", "eval_loss", "perplexity" if text else "accuracy"}


def test_workers_exchange_gradients_once_a_step_however_many_micro_batches(tmp_path: Path) -> None:
    code = """
import torch
import torch.distributed as dist
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
    engine.accumulate(torch.zeros(2, 1, 8, 8), torch.zeros(2, dtype=torch.long), Task(), part)
print(len(seen))
"""
    environment = {**os.environ, "PYTHONPATH": str(WORKER.parent)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_zero_3_is_refused_for_a_learngene_with_the_reason(tmp_path: Path) -> None:
    execution = Execution(engine="deepspeed", zero=3)
    with pytest.raises(BadInputError, match="composed from all templates at once; legal values: 0, 1, 2"):
        train(Composed(pico_learngene()), Task(), pico_data(), Training(steps=1, batch=8), execution, tmp_path)


@pytest.mark.parametrize(
    ("batch", "micro", "workers", "parts"),
    [(32, None, 2, 1), (32, 16, 2, 1), (32, 5, 2, 4), (30, 4, 1, 10), (6, 1, 2, 3)],
)
def test_a_share_is_cut_into_equal_parts_no_larger_than_the_micro_batch(
    batch: int, micro: int | None, workers: int, parts: int
) -> None:
    assert micro_batches(batch, micro, workers) == parts


def test_a_batch_that_workers_cannot_share_evenly_is_refused() -> None:
    with pytest.raises(BadInputError, match=r"train\.batch: 32 .* 3 workers"):
        micro_batches(32, None, 3)
