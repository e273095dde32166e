"""The engines by name."""

from math import ceil

from trainers.config import Execution, Training
from trainers.engines.base import NO_SCALED_CLIP as NO_SCALED_CLIP
from trainers.engines.base import NO_ZERO_3 as NO_ZERO_3
from trainers.engines.base import Engine
from trainers.parametrization import Parametrization
from trainers.world import World
from zoo.errors import BadInputError


def make_engine(module: Parametrization, training: Training, execution: Execution, world: World) -> Engine:
    """The engine that `execution` names. Raises `BadInputError` for what is not possible, with the reason."""
    parts = micro_batches(training.batch, execution.micro_batch, world.size)
    if execution.engine == "torch":
        from trainers.engines.plain_torch import TorchEngine as Chosen
    else:  # imported only where it is used: DeepSpeed takes seconds and wants a compiler
        from trainers.engines.zero import DeepSpeedEngine as Chosen
    return Chosen(module, training, execution, world, parts)


def micro_batches(batch: int, micro_batch: int | None, workers: int) -> int:
    """Into how many parts every worker cuts its share of the global batch, the same number for all.

    No part is larger than `micro_batch`, or than two samples where that is 1 and the workers' shares are uneven.
    Raises `BadInputError` if the batch has fewer samples than there are workers.
    """
    if batch < workers:
        raise BadInputError(
            f"train.batch: {batch} has no sample for some of {workers} workers (resources.workers); "
            f"legal: at most {batch} workers"
        )
    return min(ceil(batch / (workers * micro_batch)), batch // workers) if micro_batch else 1
