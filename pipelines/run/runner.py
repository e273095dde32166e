"""Running a recipe: every stage that has no record yet, as soon as its inputs are there."""

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from threading import Event, Lock
from time import monotonic, sleep
from typing import TYPE_CHECKING

from pipelines.artifacts.lease import Holder, LeaseLostError
from pipelines.artifacts.store import STARTED, Store, Workplace
from pipelines.recipe.identity import stage_keys
from pipelines.recipe.recipe import Recipe
from pipelines.recipe.stages import inputs
from pipelines.run.execute import demand, run_stage
from pipelines.run.sharing import check_shared
from pipelines.run.status import OnChange, StageStatus, State
from zoo.errors import BadInputError

if TYPE_CHECKING:
    from infra.cluster import Cluster
    from infra.resources import Demand

STOP_SECONDS = 10
"""How long an interrupt waits for what runs to end: tasks take a second, groups only end with the connection."""
JOIN_SECONDS = 20
"""How long nodes of a running cluster may take to join it, as after its head has started again."""
LOOK_EVERY = 0.5
"""Seconds between two looks how far the stages are."""
Connect = Callable[[], "Cluster"]


def plan(recipe: Recipe, store: Store) -> list[StageStatus]:
    """What `run` would do: which stages are done, and how far unfinished ones are."""
    rows: list[StageStatus] = []
    for name, key in stage_keys(recipe).items():
        record = store.record(key)
        row = StageStatus(name, recipe.stages[name].run, key, "cached" if record else "waiting")
        if record:
            row.scores, row.seconds = record.scores, record.seconds
        elif holder := store.holder(key):
            row.state, row.holder = "elsewhere", str(holder)
        refresh(row, store)
        rows.append(row)
    return rows


def refresh(row: StageStatus, store: Store) -> None:
    """Read how far an unfinished stage is."""
    if row.state in ("cached", "done", "failed"):
        return
    progress = store.progress(row.key)
    row.step, row.total = int(progress.get("step", 0)), int(progress.get("total", 0))
    row.samples_per_second = round(progress.get("samples_per_second", 0.0), 1)
    if "loss" in progress:
        row.scores = {"loss": progress["loss"]}


def run(recipe: Recipe, store: Store, rows: list[StageStatus], connect: Connect, on_change: OnChange) -> None:
    """Run the stages of `rows` (from `plan`) that are not done; `connect` is called when the first one needs it.

    Stages whose inputs are there run at the same time, as many as the cluster has resources for. After a failure no
    further stage begins, and those that run are finished. Raises `BadInputError` before anything runs with a line for
    every stage that the cluster could never hold.
    """
    waiting = {row.name: row for row in rows if row.state != "cached"}
    if not waiting:
        return
    cluster = connect()
    check_cluster(recipe, rows, cluster)
    if cluster.shared:
        check_shared(store.root, cluster)
    demands = {name: demand(recipe.stages[name]) for name in waiting}
    _Run(recipe, store, {row.name: row.key for row in rows}, waiting, demands, cluster, on_change).all()


def check_cluster(recipe: Recipe, rows: list[StageStatus], cluster: "Cluster") -> None:
    """Raise `BadInputError` with a line for every stage to come that the cluster could never hold."""
    waiting = [row.name for row in rows if row.state != "cached"]
    asked = {f"stages.{name}.resources": demand(recipe.stages[name]) for name in waiting}
    until = monotonic() + JOIN_SECONDS
    while wrong := cluster.misfits(asked):
        if not cluster.shared or monotonic() > until:
            raise BadInputError("\n".join(wrong))
        sleep(LOOK_EVERY)


@dataclass
class _Run:
    """The stages of one run that are not done yet."""

    recipe: Recipe
    store: Store
    keys: dict[str, str]
    waiting: dict[str, StageStatus]
    demands: "dict[str, Demand]"
    cluster: "Cluster"
    on_change: OnChange
    _stop: Event = field(default_factory=Event)
    """For those that wait until another run has done their stage."""
    _places: dict[str, Workplace] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)
    """Around what a row says, so that a look at the progress never replaces the final scores."""

    def all(self) -> None:
        """Run them in order, side by side where they fit."""
        names = self.waiting.keys()
        order = TopologicalSorter({name: inputs(self.recipe.stages[name]) & names for name in names})
        order.prepare()
        ready: list[str] = []
        running: dict[Future[None], str] = {}
        pool = ThreadPoolExecutor(len(self.waiting))
        try:
            while order.is_active():
                ready += order.get_ready()
                for name in list(ready):
                    if self._fits(name, running.values()):
                        ready.remove(name)
                        running[pool.submit(self._one, self.waiting[name])] = name
                for future in wait(running, LOOK_EVERY, FIRST_COMPLETED).done:
                    future.result()
                    order.done(running.pop(future))
                for name in running.values():
                    self._look(self.waiting[name])
        except BaseException as error:
            self._stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            self._finish(running, patient=isinstance(error, Exception))
            raise
        pool.shutdown()

    def _finish(self, running: Iterable[Future[None]], *, patient: bool) -> None:
        """After a failure what runs is finished; an interrupt, also of that, ends it while there still is a cluster."""
        if patient:
            try:
                wait(running)
            except BaseException:
                self._finish(running, patient=False)
                raise
            return
        self.cluster.stop()
        wait(running, timeout=STOP_SECONDS)
        for place in list(self._places.values()):  # of groups, which end with the connection
            place.lease.release()

    def _fits(self, name: str, running: Iterable[str]) -> bool:
        """Whether there is room beside what this run has on the cluster; what another run does takes none of it."""
        others = [other for other in running if self.waiting[other].state != "elsewhere"]
        here = [demand(self.recipe.stages[other], most=True) for other in others]
        return not here or self.cluster.fits([*here, self.demands[name]])

    def _look(self, row: StageStatus) -> None:
        with self._lock:
            refresh(row, self.store)
        place = self._places.get(row.name)
        if place and row.state == "queued" and (place.work / STARTED).exists():
            self._change(row, "running")

    def _change(self, row: StageStatus, state: State, holder: str = "") -> None:
        if (row.state, row.holder) != (state, holder):
            row.state, row.holder = state, holder
            self.on_change(row)

    def _one(self, row: StageStatus) -> None:
        began = monotonic()

        def waiting(holder: Holder | None) -> None:
            self._change(row, "elsewhere", str(holder or "another run"))

        try:
            while not self._work(row, waiting):
                pass
        except BaseException:
            self._change(row, "stopped" if self._stop.is_set() else "failed")
            raise
        finally:
            self._places.pop(row.name, None)
        record = self.store.record(row.key)
        assert record is not None
        with self._lock:
            row.scores, row.seconds = record.scores, monotonic() - began
            self._change(row, "done")

    def _work(self, row: StageStatus, waiting: Callable[[Holder | None], None]) -> bool:
        """Run a stage, or wait until another run has; false where another run took it over in the middle."""
        try:
            with self.store.lease(row.key, waiting, self._stop.is_set) as place:
                if place:
                    self._change(row, "queued")
                    self._places[row.name] = place
                    run_stage(self.recipe, row.name, self.keys, self.store, self.cluster, place)
        except LeaseLostError:
            if self._stop.is_set():
                raise
            return False
        return True
