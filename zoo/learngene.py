"""`Learngene`: frozen tensors and a manifest; on disk `learngene.safetensors`, `manifest.json` and `README.md`."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save, save_file
from torch import Tensor

from zoo.architecture import Architecture, Weights
from zoo.card import learngene_card
from zoo.errors import BadInputError, IntegrityError
from zoo.families import architecture, check_size
from zoo.files import atomic_folder, digest_file, write_json
from zoo.manifest import MANIFEST, TENSORS, TOKENIZER, TOKENIZER_BYTES, Manifest, Preprocessing, verify
from zoo.methods.base import ClosedForm, Method
from zoo.size import Size
from zoo.untrusted import CARD, FLOATS, read_header, read_plain


@dataclass(frozen=True)
class Learngene:
    """A size-free artifact from which a model of any legal size starts well."""

    method: Method
    source: Architecture
    tensors: Mapping[str, Tensor]
    parents: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None
    tokenizer: str | None = None
    """The content of `tokenizer.json`, where the inputs are text."""

    def size(self, depth: int, width: int, heads: int | None = None, mlp: int | None = None) -> Size:
        """A legal size; what is left out follows the learngene's own proportions. Raises `BadInputError`."""
        size = self.method.legal(self.source).size(depth, width, heads, mlp)
        check_size(self.source.at(size))
        return size

    def expand(self, size: Size) -> Weights:
        """The weights (a state dict) of the model at `size`. Raises `BadInputError` for a size it cannot give.

        They share no memory with the learngene, so a model may be trained on them.
        """
        self.method.legal(self.source).check(size)
        target = self.source.at(size)
        check_size(target)
        stacks = self.method.expand(self.tensors, self.source, target)
        return target.unstack(apart(stacks, self.tensors.values()))

    @cached_property
    def manifest(self) -> Manifest:
        """The description of this learngene (of a loaded one: as it was read)."""
        return self._describe(hashlib.sha256(save(_plain(self.tensors))).hexdigest())

    @property
    def digest(self) -> str:
        """What identifies this learngene: the digest of its manifest."""
        return self.manifest.digest

    def save(self, folder: Path) -> Manifest:
        """Write the learngene's three files; the folder appears whole or not at all."""
        with atomic_folder(folder) as temporary:
            save_file(_plain(self.tensors), temporary / TENSORS)
            manifest = self._describe(digest_file(temporary / TENSORS))
            if self.tokenizer is not None:
                (temporary / TOKENIZER).write_text(self.tokenizer, encoding="utf-8")
            write_json(temporary / MANIFEST, manifest.model_dump(mode="json"))
            (temporary / CARD).write_text(learngene_card(manifest), encoding="utf-8")
        return manifest

    @classmethod
    def load(cls, folder: Path) -> "Learngene":
        """Read and verify a learngene; errors as in `verify`."""
        manifest = verify(folder)
        source = _check_whole(folder, manifest)
        try:
            tensors = load_file(folder / TENSORS)
            tokenizer = read_plain(folder / TOKENIZER, TOKENIZER_BYTES).decode() if manifest.tokenizer else None
        except (SafetensorError, UnicodeDecodeError) as error:
            raise IntegrityError(f"{folder}: {error}") from error
        learngene = cls(manifest.method, source, tensors, manifest.parents, manifest.preprocessing, tokenizer)
        learngene.__dict__["manifest"] = manifest  # fills the cached property: it was just verified
        return learngene

    def _describe(self, tensors_digest: str) -> Manifest:
        return Manifest.model_validate(
            {
                "family": self.source.family.name,
                "config": self.source.config.model_dump(mode="json"),
                "size": self.source.size,
                "method": self.method,
                "legal": self.method.legal(self.source),
                "parents": self.parents,
                "preprocessing": self.preprocessing,
                "tokenizer": None if self.tokenizer is None else hashlib.sha256(self.tokenizer.encode()).hexdigest(),
                "tensors": tensors_digest,
                "parameters": sum(tensor.numel() for tensor in self.tensors.values()),
            }
        )


def apart(tensors: Mapping[str, Tensor], others: Iterable[Tensor]) -> dict[str, Tensor]:
    """The same tensors, copied where they share memory with `others`."""
    taken = {tensor.untyped_storage().data_ptr() for tensor in others}
    return {key: t.clone() if t.untyped_storage().data_ptr() in taken else t for key, t in tensors.items()}


def check(folder: Path) -> Manifest:
    """`verify`, and that the tensors are those of a whole learngene, without loading them; errors as in `verify`."""
    manifest = verify(folder)
    _check_whole(folder, manifest)
    return manifest


COMPUTED = 2**26
"""Models of so many numbers are expanded, from zeros, to see whether a learngene is whole; of larger ones only shapes.

Shapes alone (device `meta`) cost nothing, but the first ones of a process load torch's compiler: more than a second.
"""


@torch.no_grad()
def _check_whole(folder: Path, manifest: Manifest) -> Architecture:
    """Expand to the size it was made at: a tensor that is missing or of a wrong shape shows itself."""
    header = read_header(folder / TENSORS, manifest.parameters)
    try:
        source, method = architecture(manifest.family, manifest.config, manifest.size), manifest.method
        method.legal(source)
        if isinstance(method, ClosedForm) and not method.inherits:  # it makes the model from nothing
            if header:
                raise BadInputError(f"a learngene of {method.name!r} holds no tensors")
            return source
        numbers = max(manifest.parameters, sum(prod(shape) for shape in source.shapes().values()))
        device = "cpu" if numbers <= COMPUTED else "meta"
        tensors = {name: _of_shape(*described, device) for name, described in header.items()}
        found = source.unstack(method.expand(tensors, source, source))
    except BadInputError as error:
        raise IntegrityError(f"{folder}: {error}") from error
    except (KeyError, RuntimeError, IndexError, ValueError) as error:
        raise IntegrityError(f"{folder}: the tensors are not those of a whole learngene ({error})") from error
    if {name: tuple(tensor.shape) for name, tensor in found.items()} != source.shapes():
        raise IntegrityError(f"{folder}: the tensors do not give the shapes that the manifest promises")
    return source


def _of_shape(dtype: str, shape: tuple[int, ...], device: str) -> Tensor:
    return torch.zeros(shape, dtype=getattr(torch, FLOATS[dtype]), device=device)


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
