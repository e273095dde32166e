"""Splits of text data. Every sample has equally many targets, so a mean over targets is a mean over samples.

B samples, T = `length` tokens in a sample, R tokens of text in it (without the frame), K targets of a masked sample.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from trainers.data.config import Part, Split, Text
from trainers.data.samples import Draws, Samples
from trainers.data.split import rows_of
from trainers.data.tokenizer import MASK, Encoder
from trainers.data.tokens import Sentences, labelled_sentences, running_text, tokenizer_json
from trainers.inputs import Inputs
from trainers.objectives import IGNORED
from trainers.seeds import generator
from zoo.errors import BadInputError

_TOKENS_AT_ONCE = 4096  # of evaluation: the logits of a large vocabulary are larger than the model
_MASKED = 0.15
_TO_MASK, _TO_RANDOM = 0.8, 0.9  # of the targets 80 % become the mask, the next 10 % any token, 10 % stay


@dataclass(frozen=True, eq=False)
class TextSet(Samples):
    """What all text data have: which samples of the part belong to this split, and the tokenizer."""

    rows: np.ndarray
    length: int
    tokenizer_json: str

    @property
    def tokenizer(self) -> str:
        """The tokenizer's own file."""
        return self.tokenizer_json

    def __len__(self) -> int:
        """The number of samples in this split."""
        return len(self.rows)

    @property
    def evaluated_at_once(self) -> int:
        """So many samples that their tokens are about as many as fit."""
        return max(2, _TOKENS_AT_ONCE // self.length)

    def draw(self, random: torch.Generator, count: int) -> Draws:
        """Nothing is random."""
        return ()

    def training(self, index: np.ndarray, draws: Draws) -> tuple[Inputs, Tensor]:
        """As for evaluation."""
        return self.evaluation(index)


@dataclass(frozen=True, eq=False)
class CausalSet(TextSet):
    """Blocks of running text: `input_ids` (B, T), and as targets the token after each (B, T).

    Block n holds the tokens nT to nT + T; the last one is only a target, and the first input of the next block. So
    every token but the first of all is predicted exactly once.
    """

    blocks: np.ndarray
    """Views into the running text, (., T + 1)."""

    def evaluation(self, index: np.ndarray) -> tuple[dict[str, Tensor], Tensor]:
        """Both halves of the blocks."""
        blocks = _int64(self.blocks[self.rows[index]])
        return {"input_ids": blocks[:, :-1].contiguous()}, blocks[:, 1:].contiguous()


@dataclass(frozen=True, eq=False)
class MaskedSet(TextSet):
    """Blocks of running text in the tokenizer's frame, some tokens of which are to be restored.

    `input_ids` (B, T); targets (B, T) are -100 but at K = 15 % of the R places: a fixed number, as in BERT's own code
    (Devlin et al., arXiv 1810.04805). Training draws anew in every step; evaluation by the number of the block.
    """

    blocks: np.ndarray
    """Views into the running text, (., R)."""
    frame: tuple[list[int], list[int]]
    mask: int
    vocab: int

    def draw(self, random: torch.Generator, count: int) -> Draws:
        """For each sample: K different places, K shares that say what becomes of them, K tokens."""
        room = self.blocks.shape[1]
        targets = max(1, round(_MASKED * room))
        place_BK = torch.rand(count, room, generator=random).topk(targets).indices
        share_BK = torch.rand(count, targets, generator=random)
        return place_BK, share_BK, torch.randint(self.vocab, (count, targets), generator=random)

    def training(self, index: np.ndarray, draws: Draws) -> tuple[dict[str, Tensor], Tensor]:
        """Masked as drawn."""
        place_BK, share_BK, token_BK = draws
        x_BR = _int64(self.blocks[self.rows[index]])
        true_BK = x_BR.gather(1, place_BK)
        fed_BK = torch.where(share_BK < _TO_RANDOM, token_BK, true_BK).masked_fill(share_BK < _TO_MASK, self.mask)
        y_BR = torch.full_like(x_BR, IGNORED).scatter(1, place_BK, true_BK)
        x_BT = self._framed(x_BR.scatter(1, place_BK, fed_BK), *self.frame)
        return {"input_ids": x_BT}, self._framed(y_BR, *([IGNORED] * len(ids) for ids in self.frame))

    def evaluation(self, index: np.ndarray) -> tuple[dict[str, Tensor], Tensor]:
        """The same masks every time."""
        drawn = [self.draw(generator(0, "evaluation", row), 1) for row in self.rows[index].tolist()]
        return self.training(index, tuple(torch.cat(parts) for parts in zip(*drawn, strict=True)))

    @staticmethod
    def _framed(x_BR: Tensor, before: list[int], behind: list[int]) -> Tensor:
        sides = (x_BR.new_tensor(ids).expand(len(x_BR), -1) for ids in (before, behind))
        return torch.cat([next(sides), x_BR, next(sides)], dim=1)


@dataclass(frozen=True, eq=False)
class SentenceSet(TextSet):
    """Sentences, padded: `input_ids` and `attention_mask` (B, T); targets are classes (B,)."""

    sentences: Sentences

    def evaluation(self, index: np.ndarray) -> tuple[dict[str, Tensor], Tensor]:
        """What belongs to a sentence has attention 1, padding 0."""
        rows = self.rows[index]
        attention_mask = (np.arange(self.length) < self.sentences.sizes[rows, None]).astype(np.int64)
        x = {"input_ids": _int64(self.sentences.ids[rows]), "attention_mask": torch.from_numpy(attention_mask)}
        return x, torch.tensor(self.sentences.labels[rows])


def open_text(spec: Text, split: Split) -> TextSet:
    """A split of the text that a recipe names, tokenized if this node has not done so.

    `validation` is cut from the training samples, the same ones every time.
    """
    part: Part = "test" if split == "test" else "train"
    limit = spec.limit if part == "train" else None
    tokenizer = tokenizer_json(spec)
    if spec.task == "classification":
        sentences = labelled_sentences(spec, part, tokenizer)
        rows = rows_of(split, sentences.labels[:limit], spec.validation)
        return SentenceSet(rows, spec.length, tokenizer, sentences)
    text, encoder = running_text(spec, part, tokenizer), Encoder(tokenizer)
    stride = spec.length if spec.task == "causal" else encoder.room(spec.length)
    blocks = _blocks(spec, part, text, stride, overlap=int(spec.task == "causal"))
    rows = rows_of(split, np.zeros(len(blocks[:limit])), spec.validation)
    if spec.task == "causal":
        return CausalSet(rows, spec.length, tokenizer, blocks)
    mask = encoder.special(MASK, "a mask")
    return MaskedSet(rows, spec.length, tokenizer, blocks, encoder.frame, mask, encoder.vocab)


def _blocks(spec: Text, part: Part, text: np.ndarray, stride: int, overlap: int) -> np.ndarray:
    """Views of `stride + overlap` tokens, one every `stride` tokens; a rest is left out."""
    if len(text) < stride + overlap:
        raise BadInputError(
            f"data.length: {spec.length}; the {part} text in {spec.path} has only {len(text)} tokens, "
            f"{stride + overlap - len(text)} too few for one sample"
        )
    return sliding_window_view(text, stride + overlap)[::stride]


def _int64(ids: np.ndarray) -> Tensor:
    return torch.from_numpy(ids.astype(np.int64))
