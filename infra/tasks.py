"""Functions as plain Ray tasks: how they are started, how their errors come home."""

import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from infra.resources import Resources
from zoo.errors import ZooError

RESTARTS = 2
"""How often a task or a group is started again when its *process* died; an exception ends it at once."""


class FunctionFailedError(RuntimeError):
    """The function raised something unexpected on a worker; the message holds the traceback from there."""


class PeerLostError(FunctionFailedError):
    """The function failed because another worker of its group did not answer any more."""


def submit(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    resources: Resources,
    node: str | None = None,
    restarts: int = RESTARTS,
) -> Any:
    """Start `function(*args)` as a Ray task, on a given node if one is named; return Ray's reference to the result."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    where = NodeAffinitySchedulingStrategy(node, soft=False) if node else "DEFAULT"
    task = ray.remote(in_worker).options(
        name=name_of(function),
        max_retries=restarts,
        scheduling_strategy=where,
        **resources.options(),
    )
    return task.remote(function, args, resources.cpus, resources.gpus)


def in_worker(function: Callable[..., Any], args: tuple[Any, ...], cpus: int, gpus: int) -> Any:
    """What every worker does: set up its process, call the function, and let errors out in a form that can travel.

    Raises the function's `ZooError` with the traceback as a note, `PeerLostError` or `FunctionFailedError`.
    """
    _settle(cpus, gpus)
    try:
        return function(*args)
    except ZooError as error:
        error.add_note(traceback.format_exc())
        raise
    except Exception as error:  # of any type, perhaps one that cannot be pickled
        kind = PeerLostError if is_communication(error) else FunctionFailedError
        raise kind(f"{name_of(function)} failed on a worker:\n{traceback.format_exc()}") from None


def _settle(cpus: int, gpus: int) -> None:
    """As many threads as CPUs, one at least, and no GPU where none was asked for: Ray itself would show all of them.

    Ray sets OMP_NUM_THREADS too, but torch reads it once, and Ray uses a process for tasks of several sizes.
    """
    threads = max(1, cpus)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    if gpus == 0:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        os.environ.setdefault("DS_ACCELERATOR", "cpu")


def is_loss(error: Exception) -> bool:
    """Whether the process of a task, or its node, was lost: what the function raised itself is no loss."""
    from ray.exceptions import RayError, RayTaskError, TaskCancelledError

    return isinstance(error, RayError) and not isinstance(error, RayTaskError | TaskCancelledError)


def is_communication(error: Exception) -> bool:
    """torch has a type for NCCL, the store and the network; gloo raises a `RuntimeError` that names its source file."""
    if "torch" not in sys.modules:
        return False
    return isinstance(error, sys.modules["torch"].distributed.DistError) or (
        isinstance(error, RuntimeError) and "/gloo/" in str(error)
    )


def name_of(function: Callable[..., Any]) -> str:
    """How messages call a function."""
    return getattr(function, "__qualname__", repr(function))


@contextmanager
def errors_come_home() -> Iterator[None]:
    """Turn what Ray raises into the `ZooError` of the worker, or a `RuntimeError` that holds the remote traceback."""
    from ray.exceptions import RayError, RayTaskError

    try:
        yield
    except RayTaskError as error:
        if isinstance(error.cause, ZooError | FunctionFailedError):
            raise error.cause from None
        raise RuntimeError(re.sub(r"\x1b\[\d+m", "", str(error))) from None  # Ray paints it
    except RayError as error:
        raise RuntimeError(f"{type(error).__name__}: {error}") from None
