"""Stages that train a model's own weights: pre-training from any start, and FRONT+ refinement."""

from pipelines.artifacts.store import OUTPUT
from pipelines.recipe.stages import Pretrain, Refine
from pipelines.stages.common import Job, task_objective, train_stage
from pipelines.stages.opening import start_weights
from pipelines.stages.optimizer_file import save_optimizer
from trainers.dataset import Dataset
from trainers.parametrization import Plain
from trainers.refinement import Refinement, Spectrum
from zoo import Checkpoint, save_checkpoint


def pretrain(job: Job) -> None:
    """Train a plain model: from scratch, from a learngene, or on from a checkpoint."""
    stage = job.stage
    assert isinstance(stage, Pretrain)
    arch, data = job.arch(stage.size), job.data()
    seed = stage.train.seed
    weights = start_weights(job.inputs["start"], arch, seed) if stage.start else None
    module = Plain(arch, weights, seed=seed)
    origin = f"Trained by recipe `{job.recipe.name}`" + (" from a learngene or checkpoint." if stage.start else ".")
    objective = task_objective(arch, stage.train)

    settings = (stage.train, stage.resources)
    engine = train_stage(job, module, objective, data, settings, lambda _: save_trained(job, module, data, origin))
    if stage.keep_optimizer:
        save_optimizer(job.work / OUTPUT, engine)


def refine(job: Job) -> None:
    """FRONT+: train the ancestor on while its high frequencies are pressed down."""
    stage = job.stage
    assert isinstance(stage, Refine)
    ancestor, data = job.checkpoint("weights"), job.data()
    job.check("weights", ancestor.arch)
    module = Plain(ancestor.arch, ancestor.weights)
    task, spectrum = task_objective(ancestor.arch, stage.train), Spectrum(stage.keep, stage.mask, stage.gamma)
    objective = Refinement.balanced(task, module, data, spectrum, stage.share)
    origin = f"Refined by recipe `{job.recipe.name}` (FRONT+, keep {stage.keep})."
    train_stage(
        job,
        module,
        objective,
        data,
        (stage.train, stage.resources),
        lambda _: save_trained(job, module, data, origin),
    )


def save_trained(job: Job, module: Plain, data: Dataset, origin: str, folder: str = "") -> None:
    """Write the trained model as a checkpoint folder: the stage's result, or `folder` in it."""
    weights = {name: tensor.detach().cpu() for name, tensor in module.arch.own(module.model.state_dict()).items()}
    trained = Checkpoint(module.arch, weights, preprocessing=data.preprocessing, tokenizer=data.tokenizer)
    save_checkpoint(job.work / OUTPUT / folder, trained, origin=origin)
