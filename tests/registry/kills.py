"""Processes that die at a chosen step of saving, registering and choosing a learngene, as a kill -9 would end them."""

import os
import shutil
import sqlite3
import sys
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

LASTING = ("fsync", "rename", "replace")
"""What makes files last; rows last by a `commit` of SQLite."""
KILLED = 137


class Death:
    """Ends the process just before the N-th step that makes something last, in whatever library; 0: it only counts.

    It is a profiler of Python's, so that nothing in the product knows of it.
    """

    def __init__(self, at: int) -> None:
        self.at = at
        self.steps = 0

    def __call__(self, _frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call" and _lasts(called):
            self.steps += 1
            if self.steps == self.at:
                os._exit(KILLED)


def _lasts(called: Any) -> bool:
    if called.__name__ == "commit":
        return isinstance(called.__self__, sqlite3.Connection) and called.__self__.in_transaction
    return called.__name__ in LASTING and isinstance(called.__self__, ModuleType)


def kill_at(root: Path, database: Path, kills: int) -> None:
    """Do the work once whole; then, in a fork of this warm process each, kill it at `kills` steps spread evenly.

    `root/N` is the home of the one that died at step N.
    """
    death = _under(Death(0), _home(root / "whole", database))
    for i in range(kills):
        at = 1 + round(i * (death.steps - 1) / (kills - 1))
        home = _home(root / str(at), database)
        child = os.fork()
        if not child:
            _under(Death(at), home)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == KILLED


def _home(home: Path, database: Path) -> Path:
    home.mkdir()
    shutil.copy(database, home)
    return home


def _under(death: Death, home: Path) -> Death:
    os.environ["ZOO_HOME"] = str(home)
    sys.setprofile(death)
    work(home / "gene")
    sys.setprofile(None)
    return death


def work(folder: Path) -> None:
    """Save a learngene, register it, and make it the champion; all of it again if it is there already."""
    from registry.promote import set_alias
    from registry.register import register

    gene().save(folder)
    entry = register(folder, "vit", metrics={"accuracy": 0.5})
    set_alias("vit", "champion", entry.version)


def gene() -> Any:
    """The same tiny learngene in every process."""
    import torch

    from zoo.api import condense
    from zoo.checkpoint import Checkpoint
    from zoo.families import architecture
    from zoo.methods.front import Front
    from zoo.size import Size

    config = {"img_size": 8, "patch_size": 4, "in_chans": 1, "num_classes": 2}
    arch = architecture("vit", config, Size(depth=1, width=8, heads=2, mlp=16))
    weights = {name: torch.full(shape, 0.5) for name, shape in arch.shapes().items()}
    return condense(Checkpoint(arch, weights, digest="ab" * 32), Front())
