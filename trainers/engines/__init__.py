"""The engines by name."""

from trainers.config import Execution, Training
from trainers.engines.base import NO_OPTIMIZER_STATE as NO_OPTIMIZER_STATE
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
    """Into how many parts a worker must cut its share of the global batch."""
    if batch % workers:
        raise BadInputError(f"train.batch: {batch} cannot be shared evenly by {workers} workers (resources.workers)")
    share = batch // workers
    if micro_batch is None or share <= micro_batch:
        return 1
    return next(parts for parts in range(-(-share // micro_batch), share + 1) if share % parts == 0)
