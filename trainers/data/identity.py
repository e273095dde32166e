"""The identity of the data that a recipe names: the content, never the path."""

from hashlib import sha256
from typing import Any

from trainers.data.config import FORMAT, Data, Digits, Text
from trainers.data.files import one_file, part_files, refuse_shared
from trainers.data.index import INDEX
from trainers.data.places import place_of
from trainers.data.remote import AwayError
from trainers.data.tokenizer import tokenizer_file
from zoo.errors import NotFoundError
from zoo.files import digest_file

_ELSEWHERE = {"path", "train", "test", "max_bad", "max_cached_gb", "max_decoded_gb", "tokenizer"}
"""Where files lie, and limits that can only refuse. The content of the files stands for them."""


def identity(spec: Data) -> dict[str, Any]:
    """Plain JSON that is equal exactly when the samples (and their augmentation) are: for the keys of stages.

    Files that an index describes are not read: they have to be as it says. All others are read by the first call
    to digest them; the digests are cached by path, size and modification time.
    """
    fields = {"format": FORMAT, **spec.model_dump(mode="json", exclude=_ELSEWHERE, exclude_none=True)}
    if isinstance(spec, Digits):
        return fields
    if isinstance(spec, Text):
        own = {"tokenizer": digest_file(tokenizer_file(spec.tokenizer))} if spec.tokenizer else {}
        return fields | own | {"texts": text_digests(spec)}
    train, test = (part_files(spec, part).digests() for part in ("train", "test"))
    refuse_shared(spec, train, test)
    return fields | {"shards": {"train": train, "test": test}}


def index_digest(spec: Data) -> str | None:
    """The SHA-256 (hex) of `index.json`; None where the data have none. Raises `AwayError` where they do not answer."""
    if isinstance(spec, Digits) or one_file(spec):
        return None
    try:
        content = place_of(spec.path).read(INDEX)
    except AwayError:
        raise
    except NotFoundError:
        return None
    return sha256(content).hexdigest()


def text_digests(spec: Text) -> dict[str, list[str]]:
    """The digests of the texts of both parts, in their order; one file is `both`."""
    if one_file(spec):
        return {"both": list(part_files(spec, "train").digests().values())}
    train, test = (part_files(spec, part).digests() for part in ("train", "test"))
    refuse_shared(spec, train, test)
    return {"train": list(train.values()), "test": list(test.values())}
