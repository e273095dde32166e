"""A language model of a few thousand parameters on a few pages of made-up text."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel
from torch import Tensor, nn

from trainers.data.config import Text
from trainers.dataset import Dataset
from zoo import Architecture, Kronecker, Learngene, Size
from zoo.family import Family, Kind, Table, repeat

SIZE = Size(depth=2, width=32, heads=2, mlp=64)
METHOD = Kronecker(tile=16, templates=3)
VOCAB = 300


def write_text(path: Path, lines: int = 300, seed: int = 0) -> Path:
    """Lines of words in which some follow others more often than not."""
    draw = np.random.RandomState(seed)
    words = ["sea", "salt", "wind", "wave", "ship", "sail", "étoile", "harbour", "light", "night"]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(lines):
            at = draw.randint(10)
            line = [words[at := (at + (1, 1, 1, 3)[draw.randint(4)]) % 10] for _ in range(draw.randint(4, 13))]
            file.write(" ".join(line) + ".\n")
    return path


def write_corpus(folder: Path) -> Path:
    """A training and a test text."""
    write_text(folder / "train.txt")
    write_text(folder / "test.txt", lines=80, seed=1)
    return folder


def write_reviews(folder: Path, lines: int = 60) -> Path:
    """Tables of sentences whose class is their number modulo 2."""
    for name, count in (("train.tsv", lines), ("test.tsv", 11)):
        text = "".join(f"review {i} of a {'good' if i % 2 else 'bad'} film\t{i % 2}\n" for i in range(count))
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def text_spec(path: Path, task: str = "causal", **fields: Any) -> Text:
    classes = {"classes": 2} if task == "classification" else {}
    return Text.model_validate({"path": str(path), "task": task, "length": 16, "vocab": VOCAB, **classes, **fields})


def text_data(folder: Path, task: str = "causal") -> Dataset:
    return Dataset.open(text_spec(folder, task), held_out="test")


class TinyModel(nn.Module):
    """Every token sees the mean of those before it; then come MLPs."""

    def __init__(self, vocab: int, size: Size, dropout: float) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocab, size.width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Linear(size.width, size.mlp), nn.Dropout(dropout), nn.GELU(), nn.Linear(size.mlp, size.width)
            )
            for _ in range(size.depth)
        )
        self.head = nn.Linear(size.width, vocab)

    def forward(self, input_ids: Tensor) -> Tensor:
        x_BTD = self.embed(input_ids)
        x_BTD = x_BTD + x_BTD.cumsum(1) / torch.arange(1, input_ids.shape[1] + 1).to(x_BTD).view(-1, 1)
        for block in self.blocks:
            x_BTD = x_BTD + block(x_BTD)
        return self.head(x_BTD)


class _Config(BaseModel):
    vocab: int = VOCAB
    dropout: float = 0.0


def _build(arch: Architecture) -> nn.Module:
    assert isinstance(arch.config, _Config)
    return TinyModel(arch.config.vocab, arch.size, arch.config.dropout)


def _flops(_: Architecture) -> int:
    return 0


def _recognise(_: Any) -> None:
    return None


TINY = Family(
    name="tiny",
    config=_Config,
    table=lambda _: Table(
        segments=(
            repeat(
                "blocks.{layer}.",
                Kind("0.weight", "mlp <- width"),
                Kind("0.bias", "mlp"),
                Kind("3.weight", "width <- mlp"),
                Kind("3.bias", "width"),
            ),
        ),
        outside=(
            Kind("embed.weight", "vocab width"),
            Kind("head.weight", "vocab <- width"),
            Kind("head.bias", "vocab"),
        ),
    ),
    constants=lambda config: {"vocab": config.vocab},
    build=_build,
    arguments=lambda _: {},
    flops=_flops,
    library="zoo",
    recognise=_recognise,
    data={"vocab": "vocab"},
)


def tiny_arch(dropout: float = 0.0) -> Architecture:
    return Architecture(TINY, _Config(dropout=dropout), SIZE)


def tiny_learngene(dropout: float = 0.0) -> Learngene:
    arch = tiny_arch(dropout)
    return Learngene(METHOD, arch, METHOD.start(arch, 0))
