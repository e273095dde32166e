"""The identity of the data that a recipe names: the content, never the path."""

from typing import Any

from trainers.data.config import FORMAT, Data, Digits, Text
from trainers.data.files import digests, find_shards, find_texts, is_one_file, refuse_shared
from trainers.data.tokenizer import tokenizer_file
from zoo.files import digest_file

_ELSEWHERE = {"path", "train", "test", "max_bad", "max_decoded_gb", "tokenizer"}
"""Where files lie, and limits that can only refuse. The content of the files stands for them."""


def identity(spec: Data) -> dict[str, Any]:
    """Plain JSON that is equal exactly when the samples (and their augmentation) are: for the keys of stages.

    The first call reads all files to digest them; the digests are cached by path, size and modification time.
    """
    fields = {"format": FORMAT, **spec.model_dump(mode="json", exclude=_ELSEWHERE, exclude_none=True)}
    if isinstance(spec, Digits):
        return fields
    if isinstance(spec, Text):
        own = {"tokenizer": digest_file(tokenizer_file(spec.tokenizer))} if spec.tokenizer else {}
        return fields | own | {"texts": text_digests(spec)}
    shards = {"train": digests(find_shards(spec, "train")), "test": digests(find_shards(spec, "test"))}
    refuse_shared(spec, **shards)
    return fields | {"shards": shards}


def text_digests(spec: Text) -> dict[str, list[str]]:
    """The digests of the texts of both parts, in their order; one file is `both`."""
    if is_one_file(spec):
        return {"both": list(digests(find_texts(spec, "train")).values())}
    train, test = (digests(find_texts(spec, part)) for part in ("train", "test"))
    refuse_shared(spec, train, test)
    return {"train": list(train.values()), "test": list(test.values())}
