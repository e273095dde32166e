"""Small shards for tests."""

import gzip
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

Members = Iterable[tuple[str, bytes]]


def picture(value: int, size: tuple[int, int] = (4, 4), form: str = "PNG") -> bytes:
    """An image of one colour, (value, value, value)."""
    out = io.BytesIO()
    Image.new("RGB", size, (value, value, value)).save(out, form)
    return out.getvalue()


def sample(number: int, label: int | bytes = 0) -> list[tuple[str, bytes]]:
    """The members of sample `number`: its grey value is its number."""
    text = label if isinstance(label, bytes) else str(label).encode()
    return [(f"s{number:03d}.png", picture(number)), (f"s{number:03d}.cls", text)]


def tar_bytes(members: Members) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def write_shard(path: Path, members: Members) -> Path:
    data = tar_bytes(members)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data, mtime=0) if path.name.endswith("gz") else data)
    return path


def write_folder(folder: Path, shards: int = 3, samples: int = 4) -> Path:
    """`shards` training shards with `samples` each, numbered through; the label is the number modulo 2."""
    for shard in range(shards):
        numbers = range(shard * samples, (shard + 1) * samples)
        write_shard(folder / f"train-{shard}.tar", [m for n in numbers for m in sample(n, n % 2)])
    write_shard(folder / "test-0.tar.gz", [*sample(200, 0), *sample(201, 1)])
    return folder


def grey(images: np.ndarray) -> list[int]:
    """The numbers of the samples in an array of their images."""
    return images[:, 0, 0, 0].tolist()
