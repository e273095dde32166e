"""What a recipe says about data. A family must match `image_size`, `channels`, `classes`, `vocab`, `length`, `task`."""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from trainers.data.address import checked_address
from trainers.data.tokenizer import SMALLEST_VOCAB, SPECIAL_TOKENS, tokenizer_file, vocab_size

FORMAT = 1  # raise it when the same spec comes to mean other samples: caches and stage keys change with it

Split = Literal["train", "validation", "test"]
Part = Literal["train", "test"]  # what lies in the files; `validation` is cut from `train`


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Augment(_Model):
    """Training images are padded by `crop` zero pixels and cut at random; `flip` mirrors half of them."""

    flip: bool = False
    crop: int = Field(default=0, ge=0)


class _Common(_Model):
    """Fields of every kind.

    limit: only the first so many training samples, for quick runs (`validation` is cut from these).
    validation: the share of the training samples that is set aside for tuning and for gates.
    """

    limit: int | None = Field(default=None, ge=1)
    validation: float = Field(default=0.1, ge=0, le=0.5)


class Digits(_Common):
    """The digits that ship with scikit-learn: 1,797 grey images of 8x8 pixels; a fifth of them is `test`."""

    classes: ClassVar[int] = 10
    channels: ClassVar[int] = 1
    image_size: ClassVar[int] = 8

    kind: Literal["digits"] = "digits"
    augment: Augment = Augment(crop=1)


class _Stored(_Common):
    """Fields of data in files.

    path: a folder, or an address that fsspec knows (`https://...`, `s3://...`, `file://...`) with an `index.json`.
    max_cached_gb: the most (in 10^9 bytes) that the cache of a node may hold of shards from addresses.
    """

    path: str
    max_cached_gb: float = Field(default=64.0, gt=0)

    _address = field_validator("path")(checked_address)


class WebDataset(_Stored):
    """A folder of tar shards (`.tar`, `.tar.gz`); a sample is `<key>.jpg|jpeg|png|webp` and `<key>.cls`.

    train, test: patterns for the names of the shards in the folder `path`.
    image_size: images of another size are resized by their short side and cut in the centre.
    max_bad: the share of the samples of a part that may be undecodable or lost with a damaged shard.
    max_decoded_gb: the largest decoded array (in 10^9 bytes) that may be written to the cache of a node.
    """

    kind: Literal["webdataset"] = "webdataset"
    image_size: int = Field(ge=1)
    classes: int = Field(ge=2)
    channels: Literal[1, 3] = 3
    train: str = "train-*.tar*"
    test: str = "test-*.tar*"
    max_bad: float = Field(default=0.0, ge=0, lt=1)
    max_decoded_gb: float = Field(default=64.0, gt=0)
    augment: Augment = Field(default_factory=lambda spec: Augment(flip=True, crop=spec["image_size"] // 8))


class Text(_Stored):
    """Text files to model, or tables of labelled sentences.

    path: a folder; or one file, whose first 90 % are `train` and last 10 % `test`, cut at a line's end.
    train, test: patterns for the names of the files in the folder `path`.
    task: `causal` predicts the next token at every position of a block of `length` tokens; `masked` predicts the 15 %
        of the tokens of a block that BERT would hide; `classification` reads lines `sentence<TAB>label`.
    length: tokens in every sample, special ones included; longer sentences are cut, shorter ones padded.
    tokenizer: a `tokenizer.json`, or a folder with one (as transformers writes it). Without it a byte-level BPE of
        `vocab` tokens is trained on the training texts.
    vocab: how many token ids there are; with `tokenizer` its own number, which need not be given.
    """

    kind: Literal["text"] = "text"
    task: Literal["causal", "masked", "classification"]
    length: int = Field(ge=2)
    train: str = "train*"
    test: str = "test*"
    classes: int | None = Field(default=None, ge=2, validate_default=True)
    tokenizer: str | None = None
    vocab: int = Field(default=0, validate_default=True)

    @field_validator("classes")
    @classmethod
    def _classes_belong_to_sentences(cls, classes: int | None, info: ValidationInfo) -> int | None:
        if (classes is None) == (info.data.get("task") == "classification"):
            raise ValueError("needed for task classification, and for no other")
        return classes

    @field_validator("vocab")
    @classmethod
    def _vocab_is_the_tokenizers(cls, vocab: int, info: ValidationInfo) -> int:
        path = info.data.get("tokenizer")
        if path is None:
            if vocab < SMALLEST_VOCAB:
                raise ValueError(
                    f"at least {SMALLEST_VOCAB} (256 bytes and the special tokens {', '.join(SPECIAL_TOKENS)}), "
                    "or leave it out and give tokenizer"
                )
            return vocab
        size = vocab_size(tokenizer_file(path))
        if vocab not in (0, size):
            raise ValueError(f"the tokenizer {path!r} has {size}; leave it out")
        return size


Data = Annotated[Digits | WebDataset | Text, Field(discriminator="kind")]
