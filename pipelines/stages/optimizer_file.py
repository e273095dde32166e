"""The state of an optimizer beside a checkpoint's weights, as plain tensors."""

from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from trainers.engines.base import Engine

OPTIMIZER = "optimizer.safetensors"


def save_optimizer(folder: Path, engine: Engine) -> None:
    """Write what the engine's optimizer holds; tensors are named `PARAMETER/FIELD`."""
    state = engine.optimizer_state()
    flat = {f"{name}/{field}": tensor for name, fields in state.items() for field, tensor in fields.items()}
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in flat.items()}, folder / OPTIMIZER)


def read_optimizer(path: Path) -> dict[str, dict[str, Tensor]]:
    """The state by parameter and field."""
    states: dict[str, dict[str, Tensor]] = {}
    for name, tensor in load_file(path).items():
        parameter, _, field = name.rpartition("/")
        states.setdefault(parameter, {})[field] = tensor
    return states
