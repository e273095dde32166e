"""Decodes the shards of a part into a folder: one pass, in order, with little in memory."""

import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from trainers.data.config import Part, WebDataset
from trainers.data.files import part_files
from trainers.data.npy import GrowingArray
from trainers.data.shards import Bad, Sample, decode, read_shard
from trainers.data.statistics import channel_statistics, histogram
from zoo.errors import BadInputError
from zoo.files import write_json

_CHUNK = 128  # samples in memory at a time
Result = tuple[Sample, np.ndarray] | Bad


def write_shards(spec: WebDataset, part: Part, limit: int | None, folder: Path) -> None:
    """Write `images.npy`, `labels.npy` and `meta.json`, in the order of the shards however many threads run.

    Samples that cannot be used are skipped and counted in `meta.json`; who opens the folder judges them.

    Raises `BadInputError` where none can be used, for a label that is no class or a name that comes twice in a shard,
    and for more than `max_decoded_gb`; and what `part_files` raises.
    """
    work = partial(_try_decode, size=spec.image_size, channels=spec.channels)
    row = (spec.image_size, spec.image_size, spec.channels)
    with (
        closing(part_files(spec, part).opened()) as shards,
        GrowingArray(folder / "images.npy", np.uint8, row) as array,
        ThreadPoolExecutor(os.cpu_count()) as threads,
    ):
        samples = chain.from_iterable(read_shard(shard.path, shard.name, spec.classes) for shard in shards)
        writer = _Writer(array, spec, limit)
        while not writer.full and (chunk := list(islice(samples, _CHUNK))):
            writer.append(threads.map(work, chunk))
        if not writer.labels:
            reason = f"; the first: {writer.bad[0]}" if writer.bad else ""
            raise BadInputError(f"data.{part}: the shards in {spec.path} hold no usable sample{reason}")
    np.save(folder / "labels.npy", np.array(writer.labels, np.int64))
    write_json(folder / "meta.json", writer.meta())


def _try_decode(sample: Sample | Bad, size: int, channels: int) -> Result:
    if isinstance(sample, Bad):
        return sample
    try:
        return sample, decode(sample.image, size, channels)
    except Exception as error:  # broken bytes raise anything in Pillow's decoders; it is counted and named
        return Bad(sample.shard, sample.key, f"the image cannot be decoded: {error}")


class _Writer:
    """Appends images and keeps the counts."""

    def __init__(self, array: GrowingArray, spec: WebDataset, limit: int | None) -> None:
        self.labels: list[int] = []
        self.bad: list[Bad] = []
        self._read: Counter[str] = Counter()  # samples of each shard, bad ones included
        self._histogram_CV = np.zeros((spec.channels, 256), np.int64)
        self._array, self._spec, self._limit = array, spec, limit

    @property
    def full(self) -> bool:
        """Whether the limit is reached."""
        return len(self.labels) == self._limit

    def append(self, results: Iterator[Result]) -> None:
        """Take the next results in their order, up to the limit."""
        images: list[np.ndarray] = []
        for result in results:
            if self.full:
                break
            if isinstance(result, Bad):
                self.bad.append(result)
                self._read[result.shard] += not result.cut
            else:
                self._read[result[0].shard] += 1
                self.labels.append(result[0].label)
                images.append(result[1])
        if images:
            self._check_size(len(self.labels) * images[0].nbytes)
            images_NHWC = np.stack(images)
            self._histogram_CV += histogram(images_NHWC)
            self._array.append(images_NHWC)

    def _check_size(self, size: int) -> None:
        limit = self._spec.max_decoded_gb
        if size > limit * 1e9:
            raise BadInputError(
                f"data.max_decoded_gb: the decoded images of {self._spec.path} take more than {limit} GB "
                f"(10^9 bytes), {size} bytes after {len(self.labels)} samples; raise it, lower "
                "data.image_size or set data.limit"
            )

    def meta(self) -> dict[str, Any]:
        """What is to be known about the images without reading them."""
        cut = {bad.shard for bad in self.bad if bad.cut}
        whole = max((count for shard, count in self._read.items() if shard not in cut), default=0)
        mean, std = channel_statistics(self._histogram_CV)
        return {
            "mean": mean,
            "std": std,
            "bad": sum(not bad.cut for bad in self.bad),
            # nobody knows what a damaged shard held: take the largest whole shard for its size
            "lost": sum(max(1, whole - self._read[shard]) for shard in cut),
            "damaged": sorted(cut),
            "first": [str(bad) for bad in self.bad[:10]],
        }
