"""Reads text files: UTF-8, line by line, whole or the part of one file that belongs to training or test."""

from collections.abc import Iterator
from dataclasses import dataclass

from trainers.data.config import Part, Text
from trainers.data.contents import checked_line
from trainers.data.files import one_file, part_files
from trainers.data.source import Opened
from zoo.errors import BadInputError

_TRAIN_TENTHS = 9  # of the bytes of a single file
_CHUNK = 1 << 16  # characters that are tokenized at once


@dataclass(frozen=True)
class Sentence:
    """A line of a table: a sentence and its class."""

    text: str
    label: int


def documents(spec: Text, part: Part) -> Iterator[Iterator[str]]:
    """The files of a part, each in chunks of about 64 K characters that end with a line."""
    return (_chunks(spec, part, file) for file in part_files(spec, part).opened())


def sentences(spec: Text, part: Part) -> Iterator[Sentence]:
    """The lines `sentence<TAB>label` of a part. Raises `BadInputError` naming file and line."""
    assert spec.classes is not None
    for file in part_files(spec, part).opened():
        for number, line in _lines(spec, part, file):
            yield _sentence(line.rstrip("\r\n"), spec.classes, f"{file.place}, line {number}")


def texts(spec: Text, part: Part) -> Iterator[str]:
    """What a tokenizer is trained on: the text alone."""
    if spec.task == "classification":
        yield from (sentence.text for sentence in sentences(spec, part))
    else:
        for chunks in documents(spec, part):
            yield from chunks


def _sentence(line: str, classes: int, place: str) -> Sentence:
    text, *labels = line.split("\t")
    if len(labels) != 1:
        raise BadInputError(f"data: {place}: {len(labels)} tabs; a line is sentence<TAB>label")
    if not labels[0].isascii() or not labels[0].isdigit() or int(labels[0]) >= classes:
        raise BadInputError(f"data: {place}: label {labels[0]!r} is not legal; legal: 0..{classes - 1} (data.classes)")
    return Sentence(text, int(labels[0]))


def _chunks(spec: Text, part: Part, file: Opened) -> Iterator[str]:
    chunk: list[str] = []
    size = 0
    for _, line in _lines(spec, part, file):
        chunk.append(line)
        size += len(line)
        if size >= _CHUNK:
            yield "".join(chunk)
            chunk, size = [], 0
    yield "".join(chunk)


def _lines(spec: Text, part: Part, file: Opened) -> Iterator[tuple[int, str]]:
    """The lines of a file that belong to a part, with their numbers; a line belongs where its first byte does."""
    cut = file.path.stat().st_size * _TRAIN_TENTHS // 10 if one_file(spec) else None
    position = 0
    with file.path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            here: Part = part if cut is None else "train" if position < cut else "test"
            position += len(line)
            if here == part:
                yield number, checked_line(line, f"{file.place}, line {number}")
