"""What a shard holds: the number of its samples, and what is wrong with them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainers.data.index import SHARD_ENDINGS
from trainers.data.shards import Bad, Sample, decode, read_shard
from zoo.errors import BadInputError

ANY_CLASSES = 1 << 63
"""For `read_shard`, where nobody said how many there are."""


@dataclass(frozen=True)
class Contents:
    """Samples (of a text file: lines), bad ones included, and the problems, each with its place."""

    samples: int
    problems: tuple[str, ...]


def contents(path: Path, name: str, classes: int | None) -> Contents:
    """Read the shard `name`, which lies at `path`, and decode every sample."""
    found = (
        _problems(path, name, classes or ANY_CLASSES) if name.endswith(SHARD_ENDINGS) else _text_problems(path, name)
    )
    samples, problems = 0, []
    for one, problem in found:
        samples += one
        problems += [problem] if problem else []
    return Contents(samples, tuple(problems))


def checked_line(line: bytes, place: str) -> str:
    """A line of text. Raises `BadInputError` naming the place."""
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise BadInputError(f"data: {place}: not UTF-8 ({error.reason} at byte {error.start} of the line)") from error


def _problems(path: Path, name: str, classes: int) -> Iterator[tuple[int, str]]:
    try:
        for sample in read_shard(path, name, classes):
            if isinstance(sample, Bad):
                yield int(not sample.cut), str(sample)
            else:
                yield 1, _undecodable(sample)
    except BadInputError as error:
        yield 0, str(error)


def _undecodable(sample: Sample) -> str:
    try:
        decode(sample.image, size=1, channels=3)
    except Exception as error:  # broken bytes raise anything in Pillow's decoders
        return str(Bad(sample.shard, sample.key, f"the image cannot be decoded: {error}"))
    return ""


def _text_problems(path: Path, name: str) -> Iterator[tuple[int, str]]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                checked_line(line, f"{name}, line {number}")
                yield 1, ""
            except BadInputError as error:
                yield 1, str(error)
