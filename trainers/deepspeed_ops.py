"""DeepSpeed, and what it compiles just in time. Light to import: most of the time all of it is there already."""

import logging
import os
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

from zoo.files import home

_FOLDER = "TORCH_EXTENSIONS_DIR"


def build_ops() -> None:
    """Build what DeepSpeed compiles, once on this node, before several workers want it at once.

    What was built for these versions is known by a note beside it: to ask DeepSpeed means to import it, which takes
    longer than forming a group.
    """
    note = _extensions() / f"built-{sys.implementation.cache_tag}-{version('torch')}-{version('deepspeed')}"
    if note.is_file() and Path(note.read_text(encoding="utf-8")).is_file():
        return
    import torch

    if torch.cuda.is_available():
        return  # NCCL carries the collectives there; nothing is compiled
    import_deepspeed()
    from deepspeed.ops.op_builder.cpu import ShareMemCommBuilder

    built = ShareMemCommBuilder().load(verbose=False).__file__
    note.write_text(built, encoding="utf-8")


def import_deepspeed() -> ModuleType:
    """DeepSpeed takes seconds to import and reads its environment while it does."""
    import torch

    if not torch.cuda.is_available():
        os.environ["DS_ACCELERATOR"] = "cpu"
    _extensions()
    import deepspeed

    deepspeed.logger.setLevel(logging.ERROR)
    return deepspeed


def _extensions() -> Path:
    """Where torch keeps what it compiles: for DeepSpeed, beside our other caches, unless the user says where."""
    return Path(os.environ.setdefault(_FOLDER, str(home() / "cache" / "torch_extensions")))
