"""A group of workers: one function in N processes that are joined by torch.distributed (Ray Train).

This module owns the life of a group: its settings, its restarts, and the way its errors come home. What the
function learns it writes to files; nothing travels back through Ray, and Ray's own checkpoints are not used.
"""

import os
import signal
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from zoo.errors import ZooError

RESTARTS = 2
"""How often a task or a group whose *process* died is started again."""


class FunctionFailedError(RuntimeError):
    """The function raised something unexpected on a worker; the message holds the traceback from there."""


def settle(cpus: int, gpus: int) -> None:
    """Set up this worker process before foreign code runs in it: no GPU means the CPU for DeepSpeed too.

    Ray sets OMP_NUM_THREADS for what it assigned, but torch reads it once, and Ray reuses processes.
    """
    if not gpus:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    import sys

    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(cpus)


def run_group(function: Callable[..., None], args: tuple[Any, ...], workers: int, cpus: int, gpus: int) -> None:
    for attempt in range(RESTARTS + 1):
        with tempfile.TemporaryDirectory(prefix="zoo-group-") as storage:
            failures = _attempt(function, args, workers, cpus, gpus, storage)
        print("ATT", attempt, {k: (type(v), str(v)[:3000]) for k, v in failures.items()})
        if not failures:
            return
        for f in failures.values():
            if isinstance(f, ZooError):
                raise f
        if all(isinstance(f, FunctionFailedError) for f in failures.values()):
            break
    raise RuntimeError(str(failures))


def _attempt(function, args, workers, cpus, gpus, storage) -> Mapping[int, Exception]:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.v2.api.config import LoggingConfig
    from ray.train import TrainingFailedError, WorkerGroupError
    from ray.train.torch import TorchTrainer

    per_worker = {"CPU": cpus, "GPU": gpus} if gpus else {"CPU": cpus}
    trainer = TorchTrainer(
        _worker,
        train_loop_config={"function": function, "args": args, "cpus": cpus, "gpus": gpus},
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpus > 0, resources_per_worker=per_worker),
        run_config=RunConfig(name="group", storage_path=storage, failure_config=FailureConfig(max_failures=0), logging_config=LoggingConfig(log_level="ERROR")),
    )
    try:
        trainer.fit()
    except WorkerGroupError as error:
        return error.worker_failures
    return {}


def _worker(config: dict[str, Any]) -> None:
    settle(config["cpus"], config["gpus"])
    try:
        config["function"](*config["args"])
    except ZooError as error:
        error.add_note(traceback.format_exc())
        raise
    except Exception:
        raise FunctionFailedError(traceback.format_exc()) from None
