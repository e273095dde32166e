"""Reading what others wrote: plain files, no larger than expected, and JSON that all readers take for the same."""

import errno
import hashlib
import json
import logging
import math
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BufferedReader
from math import prod
from pathlib import Path
from typing import Annotated, Any

from pydantic import StringConstraints

from zoo.errors import IntegrityError

LEVELS = 32
"""How deep JSON may be nested."""
LARGEST, DEEPEST = 2**22, 2**12
"""The largest extent along one axis, and the most layers, of a model: tables are made of these numbers."""
MOST = 2**43
"""Numbers that a learngene may hold at most."""
CARD, CARD_BYTES = "README.md", 2**22
"""What people read of a learngene or a model, and the most that it may have."""
HEADER = 2**20
"""Bytes that the header of a tensors' file may have."""
WIDEST = 8  # bytes of a number
FLOATS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}  # as torch names them
Sha = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256, hex: it may become the name of a folder."""
_log = logging.getLogger(__name__)
UNREADABLE = (errno.EACCES, errno.EPERM, errno.ENXIO)


@contextmanager
def open_plain(path: Path, limit: int) -> Iterator[BufferedReader]:
    """Open a file to read its bytes.

    Raises `FileNotFoundError`, and `IntegrityError` for a link, a pipe, a device, a folder, or more than `limit` bytes.
    """
    try:  # not blocking: whoever opens a pipe waits for its other end
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise IntegrityError(f"{path}: a symbolic link; the files of a learngene are plain files") from None
        if error.errno in UNREADABLE:
            raise IntegrityError(f"{path}: cannot be read ({error.strerror})") from error
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise IntegrityError(f"{path}: not a plain file")
        if status.st_size > limit:
            raise IntegrityError(f"{path}: {status.st_size:,} bytes; at most {limit:,} can belong to it")
        with open(descriptor, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)


def read_plain(path: Path, limit: int) -> bytes:
    """All bytes of a file; errors as in `open_plain`."""
    with open_plain(path, limit) as file:
        return file.read(limit)


def copy_plain(path: Path, target: Path, limit: int) -> None:
    """Copy a file's bytes to a new file; errors as in `open_plain`."""
    with open_plain(path, limit) as file, target.open("xb") as copy:
        shutil.copyfileobj(file, copy, 2**20)


def check_plain(folder: Path, limits: Mapping[str, int]) -> None:
    """Check that those of these files which are there can be copied; errors as in `open_plain`."""
    for name, limit in limits.items():
        with suppress(FileNotFoundError), open_plain(folder / name, limit):
            pass


def copy_there(source: Path, target: Path, limits: Mapping[str, int]) -> None:
    """Copy those of these files which are there; errors as in `open_plain`."""
    for name, limit in limits.items():
        with suppress(FileNotFoundError):
            copy_plain(source / name, target / name, limit)


def copy_card(source: Path, target: Path) -> None:
    """Copy the card, which no digest vouches for: one that is no plain file is left out, with a warning."""
    if problem := card_problem(source):
        _log.warning("%s", problem)
    else:
        copy_there(source, target, {CARD: CARD_BYTES})


def card_problem(folder: Path) -> str:
    """Why a card is left out of copies; empty where it is not."""
    try:
        check_plain(folder, {CARD: CARD_BYTES})
    except IntegrityError as error:
        return f"the card is left out: {error}"
    return ""


def digest_plain(path: Path, limit: int) -> str:
    """SHA-256 (hex) of a file's bytes; errors as in `open_plain`."""
    with open_plain(path, limit) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def strict_json(data: bytes | str) -> Any:
    """Parse JSON. Raises `ValueError` for what is none, and for names that come twice, NaN, infinity, deep nesting."""
    text = data.decode("utf-8") if isinstance(data, bytes) else data
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number, parse_float=_finite)
    except RecursionError:
        raise ValueError(f"nested in more than {LEVELS} levels") from None
    _check(value, LEVELS)
    return value


def check_extents(size: Any, config: Any) -> None:
    """Raise `ValueError` for plain values of a size and a config that no model has: tables would fill the memory."""
    for name, value in (("size", size), ("config", config)):
        _check_largest(name, value)
    if isinstance(size, dict) and isinstance(depth := size.get("depth"), int) and depth > DEEPEST:
        raise ValueError(f"size.depth: {depth}; at most {DEEPEST} is legal")


def most_bytes(parameters: int) -> int:
    """The most bytes that a tensors' file of so many numbers may have."""
    return 8 + HEADER + WIDEST * parameters


def read_header(path: Path, parameters: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Dtype and shape of every tensor of a file that must hold `parameters` floating-point numbers and nothing else.

    Raises `IntegrityError`. No more is read than a header may have.
    """
    found = read_pieces(path, most_bytes(parameters))
    for name, (dtype, _) in found.items():
        if dtype not in FLOATS:
            raise IntegrityError(f"{path}: {name!r} has dtype {dtype}; legal are {', '.join(FLOATS)}")
    if (held := sum(prod(shape) for _, shape in found.values())) != parameters:
        raise IntegrityError(f"{path}: {held:,} numbers, the manifest says {parameters:,}")
    return found


def read_pieces(path: Path, limit: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Dtype and shape of every tensor of a file, whatever they are, which cover it exactly; as in `read_header`."""
    from safetensors import SafetensorError, safe_open

    with open_plain(path, limit) as file:
        length = int.from_bytes(file.read(8), "little")
    if length > HEADER:
        raise IntegrityError(f"{path}: a header of {length:,} bytes; at most {HEADER:,} are legal")
    found: dict[str, tuple[str, tuple[int, ...]]] = {}
    try:
        with safe_open(path, framework="numpy") as tensors:  # it checks that offsets cover the file exactly
            for name in sorted(tensors.keys()):
                piece = tensors.get_slice(name)
                found[name] = (piece.get_dtype(), tuple(piece.get_shape()))
    except (SafetensorError, ValueError, OverflowError) as error:
        raise IntegrityError(f"{path}: not a whole safetensors file ({error})") from error
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} stands there twice")
    return content


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not a number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large a number")
    return value


def _check(value: Any, levels: int) -> None:
    if levels < 0:
        raise ValueError(f"nested in more than {LEVELS} levels")
    if isinstance(value, str):
        value.encode()  # half a surrogate pair has no bytes, hence no digest
    elif isinstance(value, list):
        for item in value:
            _check(item, levels - 1)
    elif isinstance(value, dict):
        for name, item in value.items():
            _check(name, levels)
            _check(item, levels - 1)


def _check_largest(name: str, value: Any) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _check_largest(f"{name}.{key}", item)
    elif isinstance(value, list):
        for item in value:
            _check_largest(name, item)
    elif isinstance(value, int | float) and abs(value) > LARGEST:
        raise ValueError(f"{name}: {value}; at most {LARGEST} is legal")
