"""A group of workers: one function in several processes that torch.distributed joins (Ray Train).

This module owns the life of a group: its size, its restarts, the end of it. Whatever the function finds out it
writes to files; nothing travels back through Ray, and Ray's own checkpoints are not used.
"""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from infra.growth import GroupGrows, Member, Notes, free_room, join
from infra.resources import NOTHING, Placement, Resources, nodes_with_room
from infra.session import signals_restored
from infra.tasks import (
    RESTARTS,
    FunctionFailedError,
    errors_come_home,
    in_worker,
    is_communication,
    submit,
)
from zoo.errors import ZooError

BACKOFF_SECONDS = 1.0
"""Between a failure and the next start; doubled with every failure in a row."""
RETURN_SECONDS = 10.0
"""How long a start waits for what a lost group held to come back, before it makes do with less."""
SETTLE_SECONDS = 60.0
"""A group does not grow sooner after its start, which takes about ten seconds."""
_SILENCE = {"RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": "60"}
"""After so many seconds without an answer a worker counts as lost; Ray's default is ten minutes."""


@dataclass(frozen=True)
class Group:
    """`workers` processes with `resources` each; `prepare` runs once per node before they start.

    With `min_workers` the group is elastic: it starts with as many as there is room for, from `min_workers` to
    `workers`, and grows at a checkpoint (see `infra.growth.at_checkpoint`), once it has run for `settle` seconds.
    `folder` is the one of a private cluster, where nothing of a group may be open to other users or machines.
    """

    workers: int
    resources: Resources
    prepare: Callable[[], None] | None
    folder: Path | None
    min_workers: int | None = None
    placement: Placement = "PACK"
    settle: float = SETTLE_SECONDS

    def run(self, function: Callable[..., None], args: tuple[Any, ...]) -> None:
        """Call `function(*args)` in every worker; start all of them again when a process, a node or a peer is lost.

        Raises the `ZooError` of a worker as it is, else a `RuntimeError` with the remote traceback; also after
        `RESTARTS + 1` losses in a row without a new checkpoint between them.
        """
        notes, lost = Notes.new(), 0
        try:
            while True:
                before = notes.read()
                replace(before, grows=False, room="").write()
                failures = self._attempt(function, args, notes)
                if failures is None:
                    continue
                after = notes.read()
                if not failures and not after.grows:
                    return
                if failures:
                    raise_if_final(failures)
                    lost = 1 if after.checkpoints > before.checkpoints else lost + 1
                    if lost > RESTARTS:
                        raise RuntimeError(_lost_too_often(failures))
                    sleep(BACKOFF_SECONDS * 2 ** (lost - 1))
        finally:
            notes.forget()

    def _attempt(self, function: Callable[..., None], args: tuple[Any, ...], notes: Notes) -> list[Exception] | None:
        """Return what the workers died of, nothing when all is well; raise what has no workers to blame.

        None where it did not start, for the cluster is busy: Ray gives up waiting after a while, we do not.
        """
        from ray.exceptions import RayError, RayTaskError
        from ray.train import ControllerError, TrainingFailedError, WorkerGroupError
        from ray.train.v2._internal.exceptions import WorkerGroupStartupTimeoutError

        with errors_come_home(), tempfile.TemporaryDirectory(prefix="zoo-group-", dir=self.folder) as state:
            try:
                size = self._size()
                self._prepare()
                self._fit(function, args, state, Member(notes, size, self.workers, self.resources, self.settle))
            except WorkerGroupError as error:
                return list(error.worker_failures.values())
            except ControllerError as error:
                if isinstance(error.controller_failure, WorkerGroupStartupTimeoutError):
                    return None
                if not _lost_while_starting(error.controller_failure):
                    raise RuntimeError(str(error)) from None
                return [error.controller_failure]
            except TrainingFailedError as error:  # the node is taken away
                return [error]
            except RayTaskError:
                raise
            except RayError as error:  # a node, or the controller of the group, is gone
                return [error]
            finally:
                notes.read().release()
        return []

    def _size(self) -> int:
        """How many workers to start. What there is no room for now, Ray waits for."""
        if self.min_workers is None:
            return self.workers
        import ray

        count = ray.remote(free_room).options(num_cpus=0)
        wanted = min(self.workers, sum(nodes_with_room(self.resources).values()))
        deadline = monotonic() + RETURN_SECONDS
        while (room := ray.get(count.remote(self.resources))) < wanted and monotonic() < deadline:
            sleep(BACKOFF_SECONDS)
        return max(self.min_workers, min(self.workers, room))

    def _prepare(self) -> None:
        import ray

        if self.prepare:
            nodes = nodes_with_room(self.resources)
            # Without resources: a node may be busy with something else, and the group need not get a place there.
            ray.get([submit(self.prepare, (), NOTHING, node) for node in nodes])

    def _fit(self, function: Callable[..., None], args: tuple[Any, ...], state: str, member: Member) -> None:
        from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        from infra.rendezvous import GroupTorchConfig

        for name, value in _SILENCE.items():
            os.environ.setdefault(name, value)
        trainer = TorchTrainer(
            _train,
            train_loop_config={"member": member, "call": (function, args, self.resources.cpus, self.resources.gpus)},
            torch_config=GroupTorchConfig(folder=state if self.folder else None, notes=member.notes),
            scaling_config=ScalingConfig(
                num_workers=member.size,
                use_gpu=self.resources.gpus > 0,
                resources_per_worker=self.resources.amounts(),
                placement_strategy=self.placement,
            ),
            run_config=RunConfig(
                name="group",
                storage_path=state,
                # Ray would restart after any exception, and with as many workers: we tell them apart by ourselves.
                failure_config=FailureConfig(max_failures=0, controller_failure_limit=0, max_preemption_failures=0),
                logging_config=LoggingConfig(log_level="ERROR"),
                # Ray Train asks torch for GPUs before our function starts; torch looks only once.
                worker_runtime_env={} if self.resources.gpus else {"env_vars": {"CUDA_VISIBLE_DEVICES": ""}},
            ),
        )
        with signals_restored():
            try:
                trainer.fit()
            except SystemExit:  # Ray's answer to Ctrl-C and to SIGTERM
                raise KeyboardInterrupt from None


def _train(config: dict[str, Any]) -> None:
    join(config["member"])
    try:
        in_worker(*config["call"])
    except GroupGrows:  # noted where it was raised
        return


def raise_if_final(failures: list[Exception]) -> None:
    """Bad input stays bad, and so does a bug; only a process that died, or lost its peer, gets another chance."""
    for failure in failures:
        if isinstance(failure, ZooError):
            raise failure
    bugs = [failure for failure in failures if type(failure) is FunctionFailedError]
    if bugs and all(isinstance(failure, FunctionFailedError) for failure in failures):
        raise bugs[0]


def _lost_too_often(failures: list[Exception]) -> str:
    attempts = f"a worker was lost in each of {RESTARTS + 1} attempts, with no new checkpoint between them"
    return "\n".join([f"{attempts}; the last one:", *map(str, failures)])


def _lost_while_starting(failure: Exception) -> bool:
    """Whether a group could not start because a worker or a node was lost on the way."""
    from ray.exceptions import RayActorError, RayTaskError
    from ray.train.v2._internal.exceptions import WorkerGroupStartupFailedError

    if isinstance(failure, RayTaskError):
        return isinstance(failure.cause, Exception) and is_communication(failure.cause)
    return isinstance(failure, RayActorError | WorkerGroupStartupFailedError)
