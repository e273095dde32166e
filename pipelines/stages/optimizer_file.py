"""The state of an optimizer beside a checkpoint's weights, as plain tensors."""

from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from trainers.engines.base import Engine
from trainers.patience import patiently
from zoo.files import full_disk_is_an_integrity_error

OPTIMIZER = "optimizer.safetensors"


def save_optimizer(folder: Path, engine: Engine) -> None:
    """Write what the engine's optimizer holds, on the first worker; all lend it their shares.

    Tensors are named `PARAMETER/FIELD`.
    """
    whole: dict[str, Tensor] = {}
    for name, fields in engine.optimizer_state():
        if engine.world.rank == 0:
            whole |= {f"{name}/{field}": tensor.detach().cpu().contiguous() for field, tensor in fields.items()}
    patiently(engine.world, folder, lambda: _write(folder / OPTIMIZER, whole) if engine.world.rank == 0 else None)


def _write(path: Path, whole: dict[str, Tensor]) -> None:
    with full_disk_is_an_integrity_error(path):
        save_file(whole, path)


def read_optimizer(path: Path) -> dict[str, dict[str, Tensor]]:
    """The state by parameter and field."""
    states: dict[str, dict[str, Tensor]] = {}
    for name, tensor in load_file(path).items():
        parameter, _, field = name.rpartition("/")
        states.setdefault(parameter, {})[field] = tensor
    return states
