"""learngene-zoo: from one training run to models of any size.

The public API. Names are imported when first used, so that `import zoo` is instant and never loads more than asked.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.api import condense, instantiate, load
    from zoo.architecture import Architecture
    from zoo.checkpoint import Checkpoint, read_checkpoint, save_checkpoint
    from zoo.errors import BadInputError, GateRefusedError, IntegrityError, NotFoundError, ZooError
    from zoo.families import FAMILIES
    from zoo.family import Family, Kind
    from zoo.learngene import Learngene
    from zoo.methods.front import Front
    from zoo.methods.kronecker import Kronecker
    from zoo.size import LegalSizes, Size

_HOME = {
    "zoo.api": ("condense", "instantiate", "load"),
    "zoo.architecture": ("Architecture",),
    "zoo.checkpoint": ("Checkpoint", "read_checkpoint", "save_checkpoint"),
    "zoo.errors": ("BadInputError", "GateRefusedError", "IntegrityError", "NotFoundError", "ZooError"),
    "zoo.families": ("FAMILIES",),
    "zoo.family": ("Family", "Kind"),
    "zoo.learngene": ("Learngene",),
    "zoo.methods.front": ("Front",),
    "zoo.methods.kronecker": ("Kronecker",),
    "zoo.size": ("LegalSizes", "Size"),
}
_MODULES = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "FAMILIES",
    "Architecture",
    "BadInputError",
    "Checkpoint",
    "Family",
    "Front",
    "GateRefusedError",
    "IntegrityError",
    "Kind",
    "Kronecker",
    "Learngene",
    "LegalSizes",
    "NotFoundError",
    "Size",
    "ZooError",
    "condense",
    "instantiate",
    "load",
    "read_checkpoint",
    "save_checkpoint",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
