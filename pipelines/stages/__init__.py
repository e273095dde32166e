"""The functions of the stages. They run in workers, take plain values, and leave their result in `work/output`."""

from collections.abc import Callable
from contextlib import nullcontext

from filelock import FileLock

from pipelines.artifacts.lease import check_lease
from pipelines.artifacts.patience import is_passing, keep_trying
from pipelines.artifacts.store import OUTPUT, STARTED
from pipelines.recipe.stages import Condense
from pipelines.run.effort import measured
from pipelines.stages.common import Job
from pipelines.stages.composed import fit, wave, weit
from pipelines.stages.plain import pretrain, refine
from pipelines.stages.scaling import tune, widen
from pipelines.stages.trial import score, trial
from trainers.patience import patiently
from trainers.world import World
from zoo import condense

TRAININGS: dict[str, Callable[[Job], None]] = {
    "pretrain": pretrain,
    "weit": weit,
    "wave": wave,
    "fit": fit,
    "refine": refine,
    "widen": widen,
    "tune": tune,
    "trial": trial,
    "score": score,
}


def run_training(job_json: str) -> None:
    """Run a training stage on this worker; all workers of the group call it alike."""
    job = Job.model_validate_json(job_json)
    assert not isinstance(job.stage, Condense)
    world = World.current()
    # After a kill, a worker of the old run may still be writing: the new one waits until it is gone.
    lock = FileLock(job.work / "lock") if world.rank == 0 else None

    def begin() -> None:
        if lock:
            if job.lease:
                check_lease(job.lease)
            if not lock.is_locked:
                lock.acquire()
            (job.work / STARTED).touch()

    patiently(world, job.work, begin)
    execution = job.stage.resources
    cores, gpus = (world.size * number for number in (execution.cpus_per_worker, execution.gpus_per_worker))
    try:
        with measured(job.work, cores, gpus) if lock else nullcontext():
            TRAININGS[job.stage.run](job)
    finally:
        if lock:
            lock.release()


def run_condense(job_json: str) -> None:
    """Run a closed form on this process."""
    job = Job.model_validate_json(job_json)
    stage = job.stage
    assert isinstance(stage, Condense)
    (job.work / STARTED).touch()
    with measured(job.work, cores=1, gpus=0):
        learngene = condense(job.checkpoint("weights"), stage.method)
        keep_trying(lambda: learngene.save(job.work / OUTPUT), is_passing)
