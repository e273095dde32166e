"""Run top-level functions on Ray: as a task, as many tasks, or as a group that torch.distributed joins.

This module is what the other rooms see of Ray. It knows nothing of recipes, trainers and registries.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from time import monotonic, sleep
from typing import Any

from infra.group import BACKOFF_SECONDS, Group
from infra.resources import NOTHING, ONE_CPU, Demand, Placement, Resources, check_room, fits, misfits, nodes_with_room
from infra.session import private_cluster, running_cluster
from infra.tasks import RESTARTS, errors_come_home, is_loss, name_of, submit
from zoo.errors import BadInputError

LOOK_UP_SECONDS = 0.5
RETURN_SECONDS = 600.0
"""How long a shared cluster may lack the nodes that something needs."""


@contextmanager
def connect(address: str = "local", *, cpus: int | None = None) -> Iterator["Cluster"]:
    """Yield the cluster at `address`; one connection at a time in a process.

    `local` starts Ray inside this process, on loopback and with `cpus` CPUs (default: the machine's), and stops
    it afterwards. `auto`, `host:port` and `ray://host:port` attach to a running Ray and leave it running.

    Raises `BadInputError` for what is no address, `NotFoundError` within seconds where nothing answers.
    """
    if address != "local" and cpus is not None:
        raise BadInputError(f"cpus: {cpus} was given for the running cluster {address!r}; legal only with 'local'")
    if cpus is not None and cpus < 1:
        raise BadInputError(f"cpus: {cpus} is too few for a local cluster; legal: a whole number from 1 on")
    with private_cluster(cpus) if address == "local" else running_cluster(address) as folder:
        yield Cluster(address, folder)


@dataclass(frozen=True)
class Cluster:
    """A Ray that answers. Functions must be importable on its nodes; arguments and results must pickle.

    All methods raise `BadInputError` where the cluster could never hold what is asked for (a shared one after
    `RETURN_SECONDS`, for a node of it may come back), the function's own `ZooError` as it is, and a `RuntimeError`
    with the remote traceback for anything else that goes wrong.
    A private cluster has a `folder` for all of its files, which only this user can read.
    """

    address: str
    folder: Path | None
    _stopped: Event = field(default_factory=Event, compare=False)

    def misfits(self, demands: Mapping[str, Demand]) -> list[str]:
        """A line for each of the demands that it can never hold, even when idle; none where it may grow."""
        return misfits(demands)

    def fits(self, demands: Iterable[Demand]) -> bool:
        """Whether it has as much in all as the demands come to; always where it may grow."""
        return fits(demands)

    @property
    def shared(self) -> bool:
        """Whether it ran before this process, perhaps on other machines."""
        return self.folder is None

    def everywhere(self, function: Callable[..., Any], *args: Any) -> dict[str, Any]:
        """Call `function(*args)` once on every node that takes work; the results by the nodes' addresses."""
        import ray

        nodes = nodes_with_room(ONE_CPU)
        names = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes()}
        with errors_come_home():
            results = ray.get([submit(function, args, NOTHING, node) for node in nodes])
        return dict(zip((names[node] for node in nodes), results, strict=True))

    def run(
        self,
        function: Callable[..., Any],
        *args: Any,
        resources: Resources = ONE_CPU,
        unwanted: Callable[[], bool] = lambda: False,
        progress: Callable[[], object] = lambda: None,
    ) -> Any:
        """Call `function(*args)` as one task and return its result; `stop` from another thread ends it.

        So does `unwanted`, which is asked now and then. A task whose process or node was lost starts again, twice at
        most while `progress()` stays the same.
        """
        lost, before = 0, progress()
        with errors_come_home():
            while True:
                self._check_room(function, Demand(resources))
                try:
                    return self._run_once(function, args, resources, unwanted)
                except Exception as error:
                    now = progress()
                    lost, before = 1 if now != before else lost + 1, now
                    if not is_loss(error) or lost > RESTARTS:
                        raise
                sleep(BACKOFF_SECONDS * 2 ** (lost - 1))

    def _run_once(
        self, function: Callable[..., Any], args: tuple[Any, ...], resources: Resources, unwanted: Callable[[], bool]
    ) -> Any:
        import ray

        task = submit(function, args, resources, restarts=0)
        # A thread that is inside `ray.get` when Ray is shut down may never come back: so it looks up now and then.
        while not ray.wait([task], timeout=LOOK_UP_SECONDS)[0]:
            if self._stopped.is_set() or unwanted():
                ray.cancel(task, force=True)
                raise RuntimeError(f"{name_of(function)} was stopped")
        return ray.get(task)

    def stop(self) -> None:
        """End what `run` waits for in other threads, within a second; a group ends with the connection."""
        self._stopped.set()

    def run_group(
        self,
        function: Callable[..., None],
        *args: Any,
        workers: int,
        resources: Resources = ONE_CPU,
        prepare: Callable[[], None] | None = None,
        min_workers: int | None = None,
        placement: Placement = "PACK",
    ) -> None:
        """Call `function(*args)` in `workers` processes that torch.distributed joins (gloo; nccl with GPUs).

        RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT are set. `prepare()` runs once on every node
        before the workers start. A group that lost a process or a node starts again, twice at most without a new
        checkpoint (see `infra.growth.at_checkpoint`), which the function finds by itself; with `min_workers` on what
        is left, and it grows again when there is room; not with a strict `placement`. Results travel in files.
        """
        assert min_workers is None or placement == "PACK"
        self._check_room(function, Demand(resources, min_workers or workers, placement))
        Group(workers, resources, prepare, self.folder, min_workers, placement).run(function, args)

    def _check_room(self, function: Callable[..., Any], demand: Demand) -> None:
        """A private cluster stays as it is; of a shared one a node may be away for some minutes."""
        until = monotonic() + (RETURN_SECONDS if self.shared else 0)
        while True:
            try:
                return check_room(name_of(function), demand)
            except BadInputError:
                if monotonic() >= until or self._stopped.is_set():
                    raise
                sleep(LOOK_UP_SECONDS)
