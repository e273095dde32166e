"""Samples of text: blocks, masks and sentences, the same for every division of the work."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pico_text import VOCAB, text_spec, write_corpus, write_reviews
from tokenizers import Tokenizer
from torch import Tensor

from trainers.data.batches import Batches, eval_batches
from trainers.data.config import Split
from trainers.data.text_sets import CausalSet, MaskedSet, TextSet, open_text
from trainers.data.tokens import running_text, tokenizer_json
from trainers.inputs import Inputs
from trainers.objectives import IGNORED
from zoo.errors import BadInputError

SST2 = Path(__file__).parents[3] / "shared" / "data" / "sst2"
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reviews(tmp_path_factory.mktemp("reviews"))


def ids(x: Inputs) -> Tensor:
    assert isinstance(x, dict)
    return x["input_ids"]


def everything(data: TextSet) -> tuple[dict[str, Tensor], Tensor]:
    x, y = data.evaluation(np.arange(len(data)))
    assert isinstance(x, dict)
    return x, y


def masked_set(tokens: int = 2000, room: int = 40) -> MaskedSet:
    """Random tokens 10 to 99 of 100; 9 is the mask; [7 ... 8] is the frame."""
    text = np.random.RandomState(0).randint(10, 100, tokens * room).astype(np.uint16).reshape(-1, room)
    return MaskedSet(np.arange(len(text)), room + 2, "", text, ([7], [8]), 9, 100)


def test_causal_blocks_predict_every_token_of_the_text_but_the_first_once(corpus: Path) -> None:
    spec = text_spec(corpus)
    text = torch.from_numpy(running_text(spec, "test", tokenizer_json(spec)).astype(np.int64))
    x, y = everything(open_text(spec, "test"))
    used = len(y) * 16
    assert 0 <= len(text) - 1 - used < 16
    assert torch.equal(x["input_ids"].flatten(), text[:used])
    assert torch.equal(y.flatten(), text[1 : used + 1])
    assert y.dtype == x["input_ids"].dtype == torch.int64


def test_masked_blocks_are_the_text_in_its_frame(corpus: Path) -> None:
    spec = text_spec(corpus, "masked")
    text = running_text(spec, "test", tokenizer_json(spec)).tolist()
    x, y = everything(open_text(spec, "test"))
    true = torch.where(y == IGNORED, x["input_ids"], y)
    assert true[:, 0].unique().tolist() == [1]  # [CLS]
    assert true[:, -1].unique().tolist() == [2]  # [SEP]
    assert true[:, 1:-1].flatten().tolist() == text[: len(y) * 14]


def test_every_masked_sample_has_the_same_number_of_targets_and_none_in_the_frame() -> None:
    data = masked_set()
    for _, y in (data.evaluation(np.arange(200)), Batches(data, 64, seed=0).batch(3)):
        assert (y != IGNORED).sum(1).unique().tolist() == [6]  # 15 % of 40
        assert (y[:, [0, -1]] == IGNORED).all()


def test_of_the_targets_eighty_percent_are_masked_and_ten_are_random() -> None:
    data = masked_set()
    x, y = Batches(data, 2000, seed=0).batch(0)
    at = y != IGNORED
    fed, true = ids(x)[at], y[at]
    other = (fed != 9) & (fed != true)
    assert (fed == 9).double().mean().item() == pytest.approx(0.801, abs=0.01)  # a random token can be the mask
    assert other.double().mean().item() == pytest.approx(0.098, abs=0.01)  # or the true one
    assert at[:, 1:-1].double().mean(0).std() < 0.01  # every place is hidden equally often
    assert len(fed[other].unique()) > 90


def test_masks_of_training_change_with_step_and_seed_and_those_of_evaluation_never() -> None:
    data = masked_set(tokens=8)
    steps = [tuple(ids(Batches(data, 8, seed).batch(step)[0]).flatten().tolist()) for seed in (0, 1) for step in (0, 1)]
    assert len(set(steps)) == 4
    backwards = data.evaluation(np.arange(8)[::-1].copy())
    assert torch.equal(ids(data.evaluation(np.arange(8))[0]), ids(backwards[0]).flip(0))


@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 9))
@settings(max_examples=20)
def test_masked_batches_do_not_depend_on_how_they_are_divided(world: int, parts: int, step: int) -> None:
    data, size = masked_set(tokens=40), world * parts * 2
    x, y = Batches(data, size, seed=3).batch(step)
    workers = [Batches(data, size, 3, rank, world) for rank in range(world)]
    pieces = [worker.batch(step, part, parts) for worker in workers for part in range(parts)]
    assert torch.equal(torch.cat([ids(piece[0]) for piece in pieces]), ids(x))
    assert torch.equal(torch.cat([piece[1] for piece in pieces]), y)


@given(st.integers(4, 30), st.integers(2, 7), st.integers(1, 4))
@settings(max_examples=20)
def test_evaluation_of_masked_samples_does_not_depend_on_batches_and_workers(
    samples: int, size: int, world: int
) -> None:
    data = masked_set(samples)
    found = [batch for rank in range(world) for batch in eval_batches(data, size, rank, world)]
    rows = torch.cat([torch.cat([ids(x), y], 1) for x, y in found])
    x, y = everything(data)
    assert sorted(rows.tolist()) == sorted(torch.cat([x["input_ids"], y], 1).tolist())


def test_sentences_come_with_their_class_and_a_mask_over_the_padding(reviews: Path) -> None:
    data = open_text(text_spec(reviews, "classification"), "test")
    assert isinstance(data.tokenizer, str)
    x, y = everything(data)
    assert y.tolist() == [i % 2 for i in range(11)]
    library = Tokenizer.from_str(data.tokenizer)
    for i, (row, mask) in enumerate(zip(x["input_ids"], x["attention_mask"], strict=True)):
        assert library.decode(row[mask.bool()].tolist()) == f"review {i} of a {'good' if i % 2 else 'bad'} film"
        assert not row[~mask.bool()].any()
        assert mask.tolist() == sorted(mask.tolist(), reverse=True)


@pytest.mark.parametrize("task", ["causal", "masked"])
def test_blocks_are_split_without_overlap_after_the_limit(corpus: Path, task: str) -> None:
    whole = open_text(text_spec(corpus, task, validation=0.0), "train")
    train, validation, test = (open_text(text_spec(corpus, task, limit=50, validation=0.2), split) for split in SPLITS)
    assert (len(train), len(validation)) == (40, 10)
    assert sorted([*train.rows, *validation.rows]) == list(range(50))
    assert len(whole) > 100
    assert len(test) == len(open_text(text_spec(corpus, task), "test"))


def test_sentences_are_split_with_the_classes_in_proportion(reviews: Path) -> None:
    spec = text_spec(reviews, "classification", limit=40, validation=0.25)
    assert [np.bincount(everything(open_text(spec, split))[1]).tolist() for split in SPLITS[:2]] == [[15, 15], [5, 5]]


def test_a_text_too_short_for_one_sample_is_refused_with_what_is_missing(corpus: Path) -> None:
    with pytest.raises(
        BadInputError, match=r"data\.length: 9999999; the train text .* has only \d+ tokens, \d+ too few"
    ):
        open_text(text_spec(corpus, length=9999999), "train")
    with pytest.raises(BadInputError, match=r"data\.validation: the share 0\.1 of 1 training samples is none"):
        open_text(text_spec(corpus, limit=1), "validation")


def test_a_text_of_just_one_sample_is_enough() -> None:
    block = np.arange(5, dtype=np.uint16).reshape(1, 5)
    x, y = CausalSet(np.arange(1), 4, "", block).evaluation(np.arange(1))
    assert (x["input_ids"].tolist(), y.tolist()) == ([[0, 1, 2, 3]], [[1, 2, 3, 4]])


@pytest.mark.parametrize("task", ["causal", "masked"])
def test_all_ids_are_within_the_vocabulary(corpus: Path, task: str) -> None:
    data = open_text(text_spec(corpus, task), "train")
    for step in range(3):
        x, y = Batches(data, 32, seed=0).batch(step)
        assert 0 <= ids(x).min() <= max(ids(x).max(), y.max()) < VOCAB


@pytest.mark.skipif(not SST2.is_dir(), reason="../shared/data/sst2 is not there")
def test_sst2_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    spec = text_spec(SST2, "classification", train="train.tsv", test="dev.tsv", vocab=1000, validation=0.1)
    assert [len(open_text(spec, split)) for split in SPLITS] == [6228, 692, 872]
