"""Stages that train a learngene through its method's `expand`: WeiT, WAVE, and fitting to one size."""

from dataclasses import replace

from pipelines.artifacts.store import OUTPUT
from pipelines.recipe.stages import Fit, Wave, Weit
from pipelines.stages.common import Job, task_objective, train_stage
from trainers.dataset import Dataset
from trainers.distillation import Distillation, Teacher
from trainers.engines.base import Engine
from trainers.objectives import Objective
from trainers.parametrization import Composed, fitted
from trainers.world import World
from zoo import Learngene


def weit(job: Job) -> None:
    """Pre-train under the constraint, with the task's own loss."""
    stage = job.stage
    assert isinstance(stage, Weit)
    _compose(job, stage, task_objective(job.arch(stage.size), stage.train), job.data())


def wave(job: Job) -> None:
    """Distil the ancestor into the constraint: `KL(ancestor || model) + CE`."""
    stage = job.stage
    assert isinstance(stage, Wave)
    arch, data, ancestor = job.arch(stage.size), job.data(), job.checkpoint("ancestor")
    teacher = Teacher(ancestor, arch, data, World.current().device)
    objective = Distillation(task_objective(arch, stage.train), teacher)
    _compose(job, stage, objective, data, parents=(ancestor.digest,))


def fit(job: Job) -> None:
    """Train what is particular to one size; what all sizes share stays as it is."""
    stage = job.stage
    assert isinstance(stage, Fit)
    learngene, data = job.learngene("learngene"), job.data()
    job.check("learngene", learngene.source)
    module = fitted(learngene, stage.size)
    objective = task_objective(learngene.source, stage.train)

    def save(_: Engine) -> None:
        trained = module.learngene(parents=(learngene.digest,))
        replace(trained, preprocessing=data.preprocessing, tokenizer=data.tokenizer).save(job.work / OUTPUT)

    train_stage(job, module, objective, data, (stage.train, stage.resources), save)


def _compose(job: Job, stage: Weit | Wave, objective: Objective, data: Dataset, parents: tuple[str, ...] = ()) -> None:
    arch = job.arch(stage.size)
    start = Learngene(stage.method, arch, stage.method.start(arch, stage.train.seed))
    module = Composed(start, masked=stage.masked)

    def save(_: Engine) -> None:
        trained = module.learngene(parents)
        replace(trained, preprocessing=data.preprocessing, tokenizer=data.tokenizer).save(job.work / OUTPUT)

    train_stage(job, module, objective, data, (stage.train, stage.resources), save)
