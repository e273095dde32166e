"""Where an interrupted training goes on: folders `step-N`, whole or not there, the last two of them.

A checkpoint is consolidated: tensors by name, `module/PARAMETER` and `optimizer/PARAMETER/FIELD`, in safetensors files.
So it fits any engine and any number of workers, and nothing in it can run.
"""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from torch import Tensor, nn

from trainers.engines.base import MODULE, OPTIMIZER, Engine
from trainers.patience import patiently
from trainers.world import World
from zoo.errors import IntegrityError
from zoo.files import flush_folder, full_disk_is_an_integrity_error, remove_folder

FILE_BYTES = 256 * 2**20
"""How much the writer collects before it begins another file: what saving needs of memory beyond the training."""


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint on the disk: the state after `step` optimizer steps, read tensor by tensor."""

    step: int
    files: Mapping[str, Any]
    """By the tensor's name: the open file that holds it."""

    def restore(self, module: nn.Module) -> None:
        """Overwrite parameters and buffers; before an engine takes hold of them and makes its shares.

        Raises `IntegrityError` for one that the checkpoint does not hold.
        """
        tensors = module.state_dict(keep_vars=True)
        stored = {name: tensor for name, tensor in tensors.items() if f"{MODULE}/{name}" in self.files}
        there = {tensor.data_ptr() for tensor in stored.values()}
        for name, tensor in tensors.items():
            if tensor.data_ptr() not in there:  # tied tensors are stored once
                raise IntegrityError(f"the checkpoint of step {self.step} holds no {name}; delete it to begin again")
        with torch.no_grad():
            for name, tensor in stored.items():
                tensor.copy_(self._read(f"{MODULE}/{name}"))

    def optimizer_state(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """The optimizer's state, one parameter after the other, as `Engine.adopt` takes it."""
        fields: dict[str, list[str]] = {}
        for name in self.files:
            kind, _, rest = name.partition("/")
            if kind == OPTIMIZER:
                parameter, _, field = rest.rpartition("/")
                fields.setdefault(parameter, []).append(field)
        for parameter, names in fields.items():
            yield parameter, {field: self._read(f"{OPTIMIZER}/{parameter}/{field}") for field in names}

    def _read(self, name: str) -> Tensor:
        return self.files[name].get_tensor(name)


def save(root: Path, step: int, engine: Engine) -> None:
    """Write the state after `step` optimizer steps: the first worker does, all others lend it their shares.

    Raises `IntegrityError` where the disk stays full or away; the last checkpoint is whole then.
    """
    final = root / f"step-{step:09d}"
    patiently(engine.world, final, partial(_save, final, engine))


def last(root: Path, world: World) -> Checkpoint | None:
    """The last whole checkpoint, if any; the same for all workers."""
    name = ""
    if world.rank == 0:
        for left_over in root.glob(".step-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        name = next((folder.name for folder in reversed(_folders(root))), "")
    name = world.shared_text(name)
    return Checkpoint(int(name.removeprefix("step-")), _open(root / name)) if name else None


def _save(final: Path, engine: Engine) -> None:
    if engine.world.rank:
        for _ in engine.state():
            pass
        return
    # A worker of a killed run may still be writing: its folder has another name.
    temporary = final.with_name(f".{final.name}.{uuid4().hex}")
    state = engine.state()
    try:
        with full_disk_is_an_integrity_error(final):
            final.parent.mkdir(exist_ok=True)  # not what is above: that goes when another run takes over
            temporary.mkdir()
            _write(temporary, state)
            remove_folder(final)
            flush_folder(temporary)
            temporary.rename(final)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        for _ in state:  # the others give their shares to the end
            pass
        raise
    for old in _folders(final.parent)[:-2]:
        remove_folder(old)


def _write(folder: Path, state: Iterator[tuple[str, Tensor]]) -> None:
    from safetensors.torch import save_file

    held: dict[str, Tensor] = {}
    for name, tensor in state:
        held[name] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        if sum(each.nbytes for each in held.values()) >= FILE_BYTES:
            save_file(held, folder / f"{len(list(folder.iterdir())):05d}.safetensors")
            held = {}
    save_file(held, folder / f"{len(list(folder.iterdir())):05d}.safetensors")


def _open(folder: Path) -> dict[str, Any]:
    from safetensors import safe_open

    files = [safe_open(path, "pt") for path in sorted(folder.glob("*.safetensors"))]
    if not files:
        raise IntegrityError(f"{folder} is no checkpoint that this version can read; delete it to begin again")
    return {name: file for file in files for name in sorted(file.keys())}


def _folders(root: Path) -> list[Path]:
    return sorted(root.glob("step-*"))
