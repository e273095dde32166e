"""The faults. Each is struck at a step of the training or at a record, never after a while, and waited out.

A fault gives back the commands whose good end is waited for. Where it takes a machine or a command away that somebody
else would bring back (Kubernetes, a person), the fault does that too, and `again` says so: the same command was given
again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from benchmarks.faults.cluster import HEAD, WORKERS
from benchmarks.faults.hosts import Process
from benchmarks.faults.run import SECONDS, STAGES, Run
from benchmarks.faults.waiting import until

STRIKE = 60
"""The step of the training at which most faults strike: between two checkpoints, three of them written."""

RESIZED = 3e-2
"""How far other sums may lead in 300 steps: a batch computed in three parts by one worker ends 1.5e-2 away.

Most of it in the bias of attention's keys, whose gradient is zero: there Adam makes whole steps of rounding errors.
"""


@dataclass(frozen=True)
class Fault:
    """`strike(run, outage)` starts a run, disturbs it, and returns the commands that are to end well.

    `outage` is how many seconds something is away that comes back. `tolerance` is how far numbers of the learngenes
    may be from those of an undisturbed run, relative to the largest of their tensor; 0 means the same bytes.
    """

    name: str
    what: str
    strike: Callable[[Run, float], list[Process]]
    again: bool = False
    tolerance: float = 0.0


def worker_killed(run: Run, outage: float) -> list[Process]:
    """SIGKILL to one of the two processes that train."""
    driver = run.start()
    run.reach(STRIKE, driver)
    _, process = run.workers()[-1]
    process.kill()
    return [driver]


def host_cut_off(run: Run, outage: float) -> list[Process]:
    """No packet from or to the host of one of them, until the run has gone on without it; then the host is back."""
    driver = run.start()
    run.reach(STRIKE, driver)
    host = next(host for host, _ in run.workers() if host.name != HEAD)
    before = run.step()
    host.cut_off()
    try:
        run.reach(before + 2 * STRIKE, driver)
    finally:
        host.join()
    return [driver]


def driver_killed(run: Run, outage: float) -> list[Process]:
    """SIGKILL to the command; then the same command again."""
    driver = run.start()
    run.reach(STRIKE, driver)
    driver.kill()
    driver.wait(SECONDS)
    return [run.start()]


def head_restarted(run: Run, outage: float) -> list[Process]:
    """Everything on the head is killed, the command too; the head starts, the workers join it, the command again."""
    driver = run.start()
    run.reach(STRIKE, driver)
    run.cluster.kill_ray(HEAD)
    driver.wait(SECONDS)
    run.cluster.start(HEAD)
    run.cluster.heal()
    return [run.start()]


def mlflow_stopped(run: Run, outage: float) -> list[Process]:
    """The registry's server is away from a step of the training on, and still when there is something to register."""
    driver = run.start()
    run.reach(STRIKE, driver)
    run.cluster.mlflow.stop()
    _wait_out(run, outage, driver)
    run.cluster.mlflow.start()
    run.cluster.mlflow.wait()
    return [driver]


def postgres_restarted(run: Run, outage: float) -> list[Process]:
    """The database of the registry crashes when the last stage is done, just before it is registered."""
    driver = run.start()
    until(lambda: len(run.records()) == STAGES, "the last record", SECONDS, driver.hopeless)
    run.cluster.postgres.stop()
    run.cluster.postgres.start()
    return [driver]


def store_full(run: Run, outage: float) -> list[Process]:
    """No byte fits into the artifact store for a while, in the middle of the training."""
    driver = run.start()
    run.reach(STRIKE, driver)
    run.cluster.fill_store()
    try:
        end = monotonic() + outage
        until(lambda: monotonic() > end or driver.ended() is not None, "the end of the outage", SECONDS)
    finally:
        run.cluster.empty_store()
    return [driver]


def two_runs(run: Run, outage: float) -> list[Process]:
    """The same command on two hosts at the same time."""
    return [run.start(), run.start(host=WORKERS[0])]


def resized(run: Run, outage: float) -> list[Process]:
    """2 workers, then 1, then 3: the command is killed and given with another number of workers."""
    driver = run.start(workers=2)
    for step, workers in ((STRIKE, 1), (2 * STRIKE, 3)):
        run.reach(step, driver)
        driver.kill()
        driver.wait(SECONDS)
        driver = run.start(workers=workers)
    return [driver]


def _wait_out(run: Run, outage: float, driver: Process) -> None:
    """Until the time is over and the last stage is done."""
    end = monotonic() + outage
    until(lambda: len(run.records()) == STAGES and monotonic() > end, "the last record", SECONDS, driver.hopeless)


FAULTS = (
    Fault("a", "a worker's process is killed", worker_killed),
    Fault("b", "a worker's host is cut off, and back later", host_cut_off),
    Fault("c", "the driver is killed", driver_killed, again=True),
    Fault("d", "the head is restarted", head_restarted, again=True),
    Fault("e", "MLflow's server is stopped", mlflow_stopped),
    Fault("f", "PostgreSQL is restarted", postgres_restarted),
    Fault("g", "the artifact store is full for a while", store_full),
    Fault("h", "the same recipe is run twice at once", two_runs),
    Fault("i", "2 workers, then 1, then 3", resized, again=True, tolerance=RESIZED),
)
