"""Tokenizers: one is trained on the training texts, or an existing `tokenizer.json` is read.

The library `tokenizers` is imported where it is used: most data are images.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zoo.errors import BadInputError, NotFoundError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPECIAL_TOKENS = ("[PAD]", "[CLS]", "[SEP]", "[MASK]", "<|endoftext|>")
"""Ids 0 to 4 of a trained tokenizer. Bytes leave nothing unknown, so there is no [UNK]."""
SMALLEST_VOCAB = 256 + len(SPECIAL_TOKENS)
PAD, MASK, END = ("[PAD]", "<pad>", "<|endoftext|>"), ("[MASK]", "<mask>"), ("<|endoftext|>", "[SEP]", "</s>")
"""The names that BERT, RoBERTa and GPT-2 have for padding (GPT-2 has none, its end serves), a mask, a text's end."""
_AT_ONCE = 64  # texts that are encoded in parallel


def tokenizer_file(path: str) -> Path:
    """The `tokenizer.json` that `data.tokenizer` names. Raises `NotFoundError`."""
    place = Path(path).expanduser().absolute()
    file = place / "tokenizer.json" if place.is_dir() else place
    if not file.is_file():
        raise NotFoundError(f"data.tokenizer: {path!r}: there is no file {file}")
    return file


def vocab_size(file: Path) -> int:
    """How many token ids a model for this tokenizer must know. Raises `BadInputError`."""
    from tokenizers import Tokenizer

    try:
        return _ids(Tokenizer.from_file(str(file)))
    except Exception as error:  # the library knows no narrower type
        raise BadInputError(f"data.tokenizer: {file} is no tokenizer.json: {error}") from error


def train_tokenizer(texts: Iterable[str], vocab: int, framed: bool) -> str:
    """A byte-level BPE of exactly `vocab` tokens, as JSON; the same texts give the same JSON.

    `framed`: whether encoding puts [CLS] before a sentence and [SEP] behind it. Raises `BadInputError`.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if (found := tokenizer.get_vocab_size()) < vocab:
        raise BadInputError(
            f"data.vocab: {vocab}, but the training texts give only {found} tokens; legal: {SMALLEST_VOCAB} to {found}"
        )
    if framed:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[(name, SPECIAL_TOKENS.index(name)) for name in ("[CLS]", "[SEP]")],
        )
    return tokenizer.to_str(pretty=True)


class Encoder:
    """A tokenizer as the data need it: plain text only, no length but that of the samples."""

    def __init__(self, content: str) -> None:
        """`content` is a `tokenizer.json`; its own settings for truncation and padding are put aside."""
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_str(content)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True  # "[MASK]" in a text is six characters
        self.vocab = _ids(self._tokenizer)

    @property
    def dtype(self) -> type[np.unsignedinteger | np.signedinteger]:
        """The smallest type that holds every token id."""
        return np.uint16 if self.vocab <= 1 << 16 else np.int32

    def special(self, names: tuple[str, ...], use: str) -> int:
        """The id of the first token of these names that there is. Raises `BadInputError`."""
        found = [id for name in names if (id := self._tokenizer.token_to_id(name)) is not None]
        if not found:
            raise BadInputError(f"data.tokenizer: it has no token for {use}; known names: {', '.join(names)}")
        return found[0]

    @cached_property
    def frame(self) -> tuple[list[int], list[int]]:
        """The ids that this tokenizer puts before and behind a sentence."""
        whole = self._tokenizer.encode("a")
        inside = [i for i, special in enumerate(whole.special_tokens_mask) if not special]
        return whole.ids[: inside[0]], whole.ids[inside[-1] + 1 :]

    def room(self, length: int) -> int:
        """How many ids of a sentence a sample of `length` holds, beside the frame. Raises `BadInputError`."""
        frame = len(self.frame[0]) + len(self.frame[1])
        if length <= frame:
            raise BadInputError(
                f"data.length: {length}; the frame of a sentence takes {frame}; legal: from {frame + 1}"
            )
        return length - frame

    def encode(self, texts: Iterable[str]) -> Iterator[list[int]]:
        """The ids of every text, without a frame."""
        rest = iter(texts)
        while some := list(islice(rest, _AT_ONCE)):
            yield from (encoding.ids for encoding in self._tokenizer.encode_batch_fast(some, add_special_tokens=False))


def _ids(tokenizer: "Tokenizer") -> int:
    """One more than the largest id: an existing tokenizer may have gaps."""
    return max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1
