"""A group of workers: one function in several processes that torch.distributed joins (Ray Train).

This module owns the life of a group: its size, its restarts, the end of it. Whatever the function finds out it
writes to files; nothing travels back through Ray, and Ray's own checkpoints are not used.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.resources import Resources, nodes_with_room
from infra.session import signals_restored
from infra.tasks import (
    RESTARTS,
    FunctionFailedError,
    errors_come_home,
    in_worker,
    submit,
)
from zoo.errors import ZooError


@dataclass(frozen=True)
class Group:
    """`workers` processes with `resources` each; `prepare` runs once per node before they start.

    `folder` is the one of a private cluster, where nothing of a group may be open to other users or machines.
    """

    workers: int
    resources: Resources
    prepare: Callable[[], None] | None
    folder: Path | None

    def run(self, function: Callable[..., None], args: tuple[Any, ...]) -> None:
        """Call `function(*args)` in every worker; start all of them again when the process of one dies.

        Raises the `ZooError` of a worker as it is, else a `RuntimeError` with the remote traceback.
        """
        failures: list[Exception] = []
        for _ in range(RESTARTS + 1):
            failures = self._attempt(function, args)
            if not failures:
                return
            raise_if_final(failures)
        raise RuntimeError(
            f"a worker died in each of {RESTARTS + 1} attempts; the last one:\n" + "\n".join(map(str, failures))
        )

    def _attempt(self, function: Callable[..., None], args: tuple[Any, ...]) -> list[Exception]:
        """Return what the workers died of, nothing when all is well; raise what has no workers to blame."""
        from ray.exceptions import RayError, RayTaskError
        from ray.train import TrainingFailedError, WorkerGroupError

        with errors_come_home(), tempfile.TemporaryDirectory(prefix="zoo-group-", dir=self.folder) as state:
            try:
                self._prepare()
                self._fit(function, args, state)
            except WorkerGroupError as error:
                return list(error.worker_failures.values())
            except TrainingFailedError as error:
                raise RuntimeError(str(error)) from None
            except RayTaskError:
                raise
            except RayError as error:  # a node, or the controller of the group, is gone
                return [error]
        return []

    def _prepare(self) -> None:
        import ray

        if self.prepare:
            nodes = nodes_with_room(self.resources)
            ray.get([submit(self.prepare, (), self.resources, node) for node in nodes])

    def _fit(self, function: Callable[..., None], args: tuple[Any, ...], state: str) -> None:
        from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer

        from infra.rendezvous import FileTorchConfig

        trainer = TorchTrainer(
            _train,
            train_loop_config={"call": (function, args, self.resources.cpus, self.resources.gpus)},
            torch_config=FileTorchConfig(folder=state) if self.folder else TorchConfig(),
            scaling_config=ScalingConfig(
                num_workers=self.workers,
                use_gpu=self.resources.gpus > 0,
                resources_per_worker=self.resources.amounts(),
            ),
            run_config=RunConfig(
                name="group",
                storage_path=state,
                # Ray would restart after any exception: we tell them apart and restart by ourselves.
                failure_config=FailureConfig(max_failures=0, controller_failure_limit=RESTARTS),
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
    in_worker(*config["call"])


def raise_if_final(failures: list[Exception]) -> None:
    """Bad input stays bad, and so does a bug; only a process that died, or lost its peer, gets another chance."""
    for failure in failures:
        if isinstance(failure, ZooError):
            raise failure
    bugs = [failure for failure in failures if type(failure) is FunctionFailedError]
    if bugs and all(isinstance(failure, FunctionFailedError) for failure in failures):
        raise bugs[0]
