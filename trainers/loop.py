"""The one training loop. Everything that varies is a parametrization, an objective, data or an engine."""

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from math import cos, pi
from pathlib import Path

import torch
from torch import Tensor

from trainers import checkpoints
from trainers.config import Execution, Training
from trainers.data.batches import Batches
from trainers.dataset import Dataset
from trainers.engines import make_engine
from trainers.engines.base import Engine, OptimizerState
from trainers.evaluate import evaluate
from trainers.flops import Flops
from trainers.inputs import to_device
from trainers.metrics import Losses, MetricsFile, last_value, refuse_non_finite
from trainers.objectives import Objective
from trainers.parametrization import Parametrization
from trainers.patience import patiently
from trainers.seeds import derive
from trainers.world import World
from zoo.errors import IntegrityError

LOG_EVERY = 10
"""Optimizer steps between two looks at the loss (each look is an exchange between the workers)."""


@dataclass(frozen=True)
class Progress:
    """How far a training is: optimizer steps, and the last mean loss."""

    step: int
    total: int
    loss: float
    samples_per_second: float


OnProgress = Callable[[Progress], None]


def train(
    module: Parametrization,
    objective: Objective,
    data: Dataset,
    training: Training,
    execution: Execution,
    folder: Path,
    on_progress: OnProgress | None = None,
    optimizer_state: OptimizerState | None = None,
    score_at: Collection[float] = (),
    on_checkpoint: Callable[[], None] | None = None,
) -> Engine:
    """Train `module`, going on from the last checkpoint in `folder`; every worker calls it alike.

    The checkpoint may be of another engine and another number of workers. Without one the optimizer starts from
    `optimizer_state`, or from nothing. Held-out samples are scored after the shares of all steps in `score_at` too
    (0: before the first), besides what `training.evaluate_every` says. Every worker calls `on_checkpoint` after each
    checkpoint but the last; it may raise to end the training there, for another group to go on.

    Everything random is a function of (seed, step, sample), so an interrupted run goes on exactly as if nothing
    happened. Metrics go to `folder/metrics.jsonl`, checkpoints to `folder/checkpoints`. `flops` in them is what all
    steps so far have cost (see `trainers.flops`).

    Raises:
        DivergedError: the loss is NaN or infinite; the last checkpoint is from before that.
        BadInputError: batch, workers and engine do not go together.
        IntegrityError: metrics or a checkpoint could not be written for ten minutes; the last checkpoint is whole.
    """
    world = World.current()
    batches = data.batches(training.batch, training.seed, world)
    last = checkpoints.last(folder / "checkpoints", world)
    if last:
        last.restore(module)  # before an engine shares it out
    if execution.activation_checkpointing:
        module.recompute_()
    engine = make_engine(module, training, execution, world)
    state = last.optimizer_state() if last else optimizer_state
    if state is not None:
        engine.adopt(state)
    total = training.total_steps(batches.steps_per_epoch)
    first = last.step if last else 0
    # Without a checkpoint even what was noted before the first step is noted again.
    metrics = MetricsFile(folder / "metrics.jsonl", world, after=first or -1)
    if first == 0 and data.train.skipped:
        metrics.write(0, skipped_samples=data.train.skipped)
    losses = Losses(world, training.batch, after=first)
    flops = Flops(world, before=last_value(folder / "metrics.jsonl", "flops"))
    scored = {max(1, round(share * total)) if share else 0 for share in score_at}
    if first == 0 and 0 in scored:
        _score(engine, objective, data, metrics, 0, flops)
    for step in range(first, total):
        loss = _accumulate(engine, objective, batches, step, flops)
        lr = training.lr * schedule(step, total, training.warmup)
        norm = engine.step(lr)
        losses.add(loss, norm)

        done = step + 1
        at_end = done == total
        at_checkpoint = at_end or done % execution.checkpoint_every == 0
        if at_checkpoint or done % LOG_EVERY == 0:
            mean = losses.mean()
            metrics.write(done, loss=mean, lr=lr, grad_norm=norm, flops=flops.total)
            if on_progress and world.rank == 0:
                with suppress(OSError, IntegrityError):  # whoever watches may miss a look, the training goes on
                    on_progress(Progress(done, total, mean, losses.rate))
        regular = training.evaluate_every is not None and done % training.evaluate_every == 0
        at_scores = at_end or regular or done in scored
        if at_scores or at_checkpoint:
            module.share_statistics(world)
        if at_scores:
            _score(engine, objective, data, metrics, done, flops)
        if at_checkpoint:
            patiently(world, folder / "metrics.jsonl", metrics.flush)
            checkpoints.save(folder / "checkpoints", done, engine)
            if on_checkpoint and not at_end:
                on_checkpoint()
    return engine


def schedule(step: int, total: int, warmup: float) -> float:
    """The share of the learning rate at optimizer step `step` of `total`: linear warm-up, then a cosine to zero."""
    rising = round(warmup * total)
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + cos(pi * (step - rising) / max(1, total - rising)))


def _score(engine: Engine, objective: Objective, data: Dataset, metrics: MetricsFile, step: int, flops: Flops) -> None:
    scores = evaluate(engine.forward, engine.module, objective, data, engine.world)
    refuse_non_finite("the loss on held-out samples", scores["eval_loss"], step)
    metrics.write(step, flops=flops.total, **scores)


def _accumulate(engine: Engine, objective: Objective, batches: Batches, step: int, flops: Flops) -> Tensor:
    """Gradients of one optimizer step; the mean loss of this worker's share."""
    module, world, seed = engine.module, engine.world, engine.training.seed
    module.begin(step, seed)
    module.train()
    total = torch.zeros((), device=world.device)
    with flops.step(module.target.size):
        for part in range(engine.parts):
            span = batches.span(part, engine.parts)
            torch.manual_seed(derive(seed, "model", step * batches.size + span.start))  # dropout and the like
            x, y = batches.batch(step, part, engine.parts)
            x, y = to_device(x, world.device), y.to(world.device)
            weight = len(span) * world.size / batches.size
            total += engine.accumulate(x, y, objective, part, weight) * weight
    return total
