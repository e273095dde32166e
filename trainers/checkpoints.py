"""Where an interrupted training goes on: folders `step-N`, whole or not there, the last two of them."""

import json
import shutil
from pathlib import Path
from uuid import uuid4

from trainers.engines.base import Engine
from zoo.errors import BadInputError
from zoo.files import flush_folder, full_disk_is_an_integrity_error, write_json

META = "world.json"


def save(root: Path, step: int, engine: Engine) -> None:
    """Write the state after `step` optimizer steps: all workers into one folder, which the first one then renames."""
    world, final = engine.world, root / f"step-{step:09d}"
    # A worker of a killed run may still be writing: its folder has another name.
    temporary = root / world.shared_text(f".{final.name}.{uuid4().hex}")
    if world.rank == 0:
        temporary.mkdir(parents=True)
    world.barrier()
    try:
        with full_disk_is_an_integrity_error(final):
            engine.save(temporary)
            if world.rank == 0:
                write_json(temporary / META, _layout(engine))
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    world.barrier()
    if world.rank == 0:
        shutil.rmtree(final, ignore_errors=True)
        flush_folder(temporary)
        temporary.rename(final)
        for old in _folders(root)[:-2]:
            shutil.rmtree(old)
    world.barrier()


def resume(root: Path, engine: Engine) -> int:
    """Load the last whole checkpoint, if any; how many optimizer steps it has behind it."""
    if engine.world.rank == 0:
        for left_over in root.glob(".step-*"):
            shutil.rmtree(left_over, ignore_errors=True)
    folders = _folders(root)
    if not folders:
        return 0
    written = (folders[-1] / META).read_text(encoding="utf-8")
    _check_layout(folders[-1], written, engine)
    engine.load(folders[-1])
    return int(folders[-1].name.removeprefix("step-"))


def _folders(root: Path) -> list[Path]:
    return sorted(root.glob("step-*"))


def _layout(engine: Engine) -> dict[str, object]:
    """What a checkpoint is tied to. The torch engine's state is whole; ZeRO's is in as many shares as workers."""
    execution = engine.execution
    if execution.engine == "torch":
        return {"engine": "torch"}
    return {"engine": "deepspeed", "zero": execution.zero, "workers": engine.world.size}


def _check_layout(folder: Path, written: str, engine: Engine) -> None:
    have, want = json.loads(written), _layout(engine)
    if have != want:
        raise BadInputError(
            f"resources: the unfinished training in {folder} was run with {have}, now {want}; "
            "finish it with the same resources, or delete that folder to begin again"
        )
