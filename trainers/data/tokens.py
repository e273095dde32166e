"""The cache of a node: the token ids of a part, as memory-mapped arrays of uint16 or int32.

`<home>/cache/tokenizers/<digest>/` holds a trained `tokenizer.json`. `<home>/cache/data/<digest>/` holds `tokens.npy`:
of running text all ids in a row (M,), so that one array serves every length of a sample; of sentences (N, length),
padded, beside `sizes.npy` and `labels.npy` (N; int64).
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainers.data.cache import cached, reading
from trainers.data.config import FORMAT, Part, Text
from trainers.data.identity import text_digests
from trainers.data.npy import GrowingArray
from trainers.data.text import documents, sentences, texts
from trainers.data.tokenizer import END, PAD, Encoder, tokenizer_file, train_tokenizer
from zoo.errors import BadInputError


@dataclass(frozen=True, eq=False)
class Sentences:
    """Encoded sentences: ids (N, length), how many of each are no padding (N,), classes (N,)."""

    ids: np.ndarray
    sizes: np.ndarray
    labels: np.ndarray


def tokenizer_json(spec: Text) -> str:
    """The `tokenizer.json` of a recipe's text data, trained once if none is given."""
    if spec.tokenizer:
        return tokenizer_file(spec.tokenizer).read_text(encoding="utf-8")

    def write(folder: Path) -> None:
        content = train_tokenizer(texts(spec, "train"), spec.vocab, framed=spec.task != "causal")
        (folder / "tokenizer.json").write_text(content, encoding="utf-8")

    folder = cached("tokenizers", {"task": spec.task, "vocab": spec.vocab, **_content(spec, "train")}, write)
    with reading(folder):
        return (folder / "tokenizer.json").read_text(encoding="utf-8")


def running_text(spec: Text, part: Part, tokenizer: str) -> np.ndarray:
    """The ids of all files of a part in a row, each file followed by the token for a text's end."""

    def write(folder: Path) -> None:
        encoder = Encoder(tokenizer)
        end = encoder.special(END, "the end of a text")
        with GrowingArray(folder / "tokens.npy", encoder.dtype) as array:
            for chunks in documents(spec, part):
                for ids in encoder.encode(chunks):
                    array.append(ids)
                array.append([end])

    content = {"tokens": "running", "tokenizer": _digest(tokenizer), **_content(spec, part)}
    folder = cached("data", content, write)
    with reading(folder):
        return np.load(folder / "tokens.npy", mmap_mode="r", allow_pickle=False)


def labelled_sentences(spec: Text, part: Part, tokenizer: str) -> Sentences:
    """The sentences of a part in the tokenizer's frame, cut and padded to `spec.length`.

    Raises `BadInputError` where there is none, for a line that is none, and for a tokenizer or a length that does not
    fit; and what `part_files` and `cached` raise.
    """

    def write(folder: Path) -> None:
        rows = list(sentences(spec, part))
        if not rows:
            raise BadInputError(f"data.{part}: there is no sentence in {spec.path}")
        ids, sizes = _padded(Encoder(tokenizer), [row.text for row in rows], spec.length)
        labels = np.array([row.label for row in rows], np.int64)
        for name, array in (("tokens", ids), ("sizes", sizes), ("labels", labels)):
            np.save(folder / f"{name}.npy", array)

    shape = {"tokens": "sentences", "length": spec.length, "classes": spec.classes}
    folder = cached("data", {**shape, "tokenizer": _digest(tokenizer), **_content(spec, part)}, write)
    with reading(folder):
        ids = np.load(folder / "tokens.npy", mmap_mode="r", allow_pickle=False)
        sizes, labels = (np.load(folder / f"{name}.npy", allow_pickle=False) for name in ("sizes", "labels"))
    return Sentences(ids, sizes, labels)


def _padded(encoder: Encoder, texts: list[str], length: int) -> tuple[np.ndarray, np.ndarray]:
    room, (before, behind) = encoder.room(length), encoder.frame
    whole = [[*before, *ids[:room], *behind] for ids in encoder.encode(texts)]
    padded = np.full((len(whole), length), encoder.special(PAD, "padding"), encoder.dtype)
    for row, ids in zip(padded, whole, strict=True):
        row[: len(ids)] = ids
    return padded, np.array([len(ids) for ids in whole], np.int64)


def _content(spec: Text, part: Part) -> dict[str, Any]:
    """What the text of a part is."""
    files = text_digests(spec)
    return {"format": FORMAT, **({"of": part, **files} if "both" in files else {"texts": files[part]})}


def _digest(text: str) -> str:
    """SHA-256 (hex) of a text."""
    return hashlib.sha256(text.encode()).hexdigest()
