"""The cache of a node: the images of a part, decoded once into a memory-mapped array.

`<home>/cache/data/<digest>/` holds `images.npy` (N, H, W, C; uint8), `labels.npy` (N; int64), `meta.json`.
After that every process of the node reaches any sample at random: nothing to decode, no position to save.
"""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainers.data.cache import cached, reading
from trainers.data.config import FORMAT, Digits, Part, WebDataset
from trainers.data.digits import write_digits
from trainers.data.files import part_files
from trainers.data.writer import write_shards
from zoo.errors import BadInputError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Images:
    """A part as it was decoded: uint8 (N, H, W, C) on disk, int64 (N,).

    mean, std: of each channel over all its pixels, in units of 0..1.
    bad: how many samples could not be used; lost: how many (about) are missing with damaged shards.
    """

    images: np.ndarray
    labels: np.ndarray
    mean: tuple[float, ...]
    std: tuple[float, ...]
    bad: int
    lost: int


def decoded(spec: Digits | WebDataset, part: Part) -> Images:
    """The images of a part from the cache; the first process of a node decodes, the others wait for it.

    Raises:
        NotFoundError, BadInputError: the shards are not there, do not fit the recipe, or too many are bad.
        IntegrityError: the cache is damaged, or the disk is full.
    """
    limit = spec.limit if part == "train" else None

    def write(folder: Path) -> None:
        if isinstance(spec, Digits):
            write_digits(part, limit, folder)
        else:
            write_shards(spec, part, limit, folder)

    folder = cached("data", {"format": FORMAT, "limit": limit, "content": _content(spec, part)}, write)
    images, meta = _load(folder)
    if isinstance(spec, WebDataset) and meta["first"]:
        _judge(spec, part, len(images.labels), meta)
    return images


def _content(spec: Digits | WebDataset, part: Part) -> dict[str, Any]:
    """What the arrays depend on; less than the identity: a new augmentation decodes nothing anew."""
    if isinstance(spec, Digits):
        return {"kind": spec.kind, "part": part}
    return spec.model_dump(include={"image_size", "channels", "classes"}) | {"shards": part_files(spec, part).digests()}


def _load(folder: Path) -> tuple[Images, dict[str, Any]]:
    with reading(folder):
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        labels = np.load(folder / "labels.npy", allow_pickle=False)
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    return Images(images, labels, tuple(meta["mean"]), tuple(meta["std"]), meta["bad"], meta["lost"]), meta


def _judge(spec: WebDataset, part: Part, good: int, meta: dict[str, Any]) -> None:
    """Log what is missing, or refuse if it is more than the recipe tolerates (for a cached part, too)."""
    missing = meta["bad"] + meta["lost"]
    told = (
        f"{part}: of {good + missing} samples {meta['bad']} cannot be used and about {meta['lost']} are lost "
        f"with {len(meta['damaged'])} damaged shards; the first: {meta['first'][0]}"
    )
    share = missing / (good + missing)
    if share > spec.max_bad:
        raise BadInputError(f"data.max_bad: {spec.max_bad} is exceeded, the share is {share:.3g}; {told}")
    _log.warning("%s", told)
