"""Tokenizers and token ids: trained once, always the same, and every mistake in a file is named with its line."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from pico_text import VOCAB, text_spec, write_corpus, write_reviews, write_text
from tokenizers import Tokenizer

from trainers.data.text import documents, sentences, texts
from trainers.data.text_sets import open_text
from trainers.data.tokenizer import MASK, PAD, SPECIAL_TOKENS, Encoder, train_tokenizer
from trainers.data.tokens import labelled_sentences, running_text, tokenizer_json
from zoo.errors import BadInputError, IntegrityError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "data")


def entries(home: Path, shelf: str) -> list[Path]:
    return [path for path in (home / "cache" / shelf).iterdir() if path.is_dir()]


def test_a_trained_tokenizer_has_exactly_the_wanted_tokens_and_the_special_ones_first(folder: Path) -> None:
    tokenizer = Tokenizer.from_str(tokenizer_json(text_spec(folder, "masked")))
    assert tokenizer.get_vocab_size() == VOCAB
    assert [tokenizer.id_to_token(i) for i in range(5)] == list(SPECIAL_TOKENS)


def test_any_text_survives_encoding_and_decoding(folder: Path) -> None:
    tokenizer = Tokenizer.from_str(tokenizer_json(text_spec(folder)))
    text = "  ships\t— 船 \u0000\n\n[MASK] <|endoftext|>"
    ids = next(Encoder(tokenizer.to_str()).encode([text]))
    assert tokenizer.decode(ids, skip_special_tokens=False) == text
    assert min(ids) >= len(SPECIAL_TOKENS)  # what looks like a special token in a text is none


@pytest.mark.parametrize(("task", "ends"), [("causal", []), ("masked", ["[CLS]", "[SEP]"])])
def test_a_tokenizer_frames_sentences_unless_the_model_is_causal(folder: Path, task: str, ends: list[str]) -> None:
    tokens = Tokenizer.from_str(tokenizer_json(text_spec(folder, task))).encode("sea").tokens
    assert [token for token in tokens if token in SPECIAL_TOKENS] == ends


def test_training_a_tokenizer_again_on_other_threads_gives_the_same_bytes(folder: Path) -> None:
    code = """
import sys
from trainers.data.config import Text
from trainers.data.tokens import tokenizer_json
print(tokenizer_json(Text(path=sys.argv[1], task="causal", length=16, vocab=300)))
"""
    found = {tokenizer_json(text_spec(folder))}
    for threads in ("1", "4"):
        environment = {**os.environ, "RAYON_NUM_THREADS": threads, "ZOO_HOME": str(folder / threads)}
        command = [sys.executable, "-c", code, str(folder)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        found.add(done.stdout.rstrip("\n"))
    assert len(found) == 1


def test_of_many_at_once_one_trains_and_all_get_the_same(folder: Path, home: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: open_text(text_spec(folder), "train").tokenizer, range(4)))
    assert len(set(found)) == 1
    assert (len(entries(home, "tokenizers")), len(entries(home, "data"))) == (1, 1)


def test_the_cache_is_used_and_follows_the_content(folder: Path, home: Path) -> None:
    tokenizer_json(text_spec(folder))
    (entry,) = entries(home, "tokenizers")
    changed = train_tokenizer(["from the cache"], 262, framed=False)
    (entry / "tokenizer.json").write_text(changed, encoding="utf-8")
    assert tokenizer_json(text_spec(folder)) == changed
    write_text(folder / "train.txt", lines=301)
    assert tokenizer_json(text_spec(folder)) != changed


def test_the_length_of_a_sample_tokenizes_nothing_anew(folder: Path, home: Path) -> None:
    for length in (8, 16):
        open_text(text_spec(folder, length=length, limit=5), "train")
    assert len(entries(home, "data")) == 1


def test_ids_are_as_small_as_the_vocabulary_allows_and_stay_on_the_disk(folder: Path) -> None:
    spec = text_spec(folder)
    ids = running_text(spec, "train", tokenizer_json(spec))
    assert isinstance(ids, np.memmap)
    assert ids.dtype == np.uint16


def test_running_text_is_all_files_each_with_its_end(folder: Path) -> None:
    write_text(folder / "train-2.txt", lines=3, seed=5)
    spec = text_spec(folder)
    tokenizer = tokenizer_json(spec)
    ids = running_text(spec, "train", tokenizer).tolist()
    whole = "".join(
        (folder / name).read_text(encoding="utf-8") + "<|endoftext|>" for name in ("train-2.txt", "train.txt")
    )
    assert Tokenizer.from_str(tokenizer).decode(ids, skip_special_tokens=False) == whole


def test_a_damaged_cache_is_named(folder: Path, home: Path) -> None:
    open_text(text_spec(folder), "train")
    (entry,) = entries(home, "data")
    (entry / "tokens.npy").write_bytes(b"x")
    with pytest.raises(IntegrityError, match=entry.name):
        open_text(text_spec(folder), "train")


def test_long_texts_come_in_chunks_that_are_the_text(tmp_path: Path) -> None:
    path = write_text(tmp_path / "data" / "train.txt", lines=4000)
    (chunks,) = (list(chunks) for chunks in documents(text_spec(path.parent), "train"))
    assert len(chunks) > 2
    assert "".join(chunks) == path.read_text(encoding="utf-8")
    assert all(chunk.endswith("\n") for chunk in chunks[:-1])


def test_one_file_is_cut_after_the_line_that_reaches_nine_tenths(tmp_path: Path) -> None:
    path = write_text(tmp_path / "all.txt", lines=100)
    train, test = ("".join(texts(text_spec(path), part)) for part in ("train", "test"))
    assert train + test == path.read_text(encoding="utf-8")
    assert train.endswith("\n")
    size = len(train.encode()) - 0.9 * path.stat().st_size
    assert 0 <= size < len(train.splitlines()[-1].encode()) + 1


def test_a_vocabulary_larger_than_the_text_gives_is_refused_with_the_largest(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    write_text(folder / "train.txt", lines=1)
    write_text(folder / "test.txt", lines=1, seed=1)
    with pytest.raises(BadInputError, match=r"data\.vocab: 5000, .* give only (\d+) tokens; legal: 261 to \1"):
        tokenizer_json(text_spec(folder, vocab=5000))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("no label", r"train\.tsv, line 3: 0 tabs; a line is sentence<TAB>label"),
        ("a\tb\t1", r"train\.tsv, line 3: 2 tabs"),
        ("", r"train\.tsv, line 3: 0 tabs"),
        ("a film\t2", r"train\.tsv, line 3: label '2' is not legal; legal: 0\.\.1"),
        ("a film\t-1", r"train\.tsv, line 3: label '-1'"),
        ("a film\tgood", r"train\.tsv, line 3: label 'good'"),
        ("a film\t", r"train\.tsv, line 3: label ''"),
    ],
)
def test_a_bad_line_of_a_table_is_named(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "train.tsv").write_text(f"good\t1\nbad\t0\r\n{line}\n", encoding="utf-8")
    with pytest.raises(BadInputError, match=message):
        list(sentences(text_spec(tmp_path, "classification"), "train"))


def test_bytes_that_are_no_utf8_are_named_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_bytes(b"fine\nm\xfcde\n")
    with pytest.raises(BadInputError, match=r"train\.txt, line 2: not UTF-8 .* byte 1 of the line"):
        list(texts(text_spec(tmp_path), "train"))


def test_a_table_without_sentences_is_refused(tmp_path: Path) -> None:
    folder = write_reviews(tmp_path / "data")
    (folder / "test.tsv").write_text("", encoding="utf-8")
    with pytest.raises(BadInputError, match=r"data\.test: there is no sentence"):
        open_text(text_spec(folder, "classification"), "test")


def test_sentences_are_framed_cut_and_padded(tmp_path: Path) -> None:
    folder = write_reviews(tmp_path / "data")
    (folder / "test.tsv").write_text("good film\t1\n" + "good " * 50 + "film\t0\n", encoding="utf-8")
    spec = text_spec(folder, "classification")
    tokenizer = tokenizer_json(spec)
    found = labelled_sentences(spec, "test", tokenizer)
    library = Tokenizer.from_str(tokenizer)
    library.enable_truncation(16)
    library.enable_padding(pad_id=0, length=16)
    expected = library.encode_batch(["good film", "good " * 50 + "film"])
    assert found.ids.tolist() == [encoding.ids for encoding in expected]
    assert found.sizes.tolist() == [sum(encoding.attention_mask) for encoding in expected]
    assert found.labels.tolist() == [1, 0]


def test_settings_of_an_existing_tokenizer_for_length_and_padding_do_not_cut_texts(
    folder: Path, tmp_path: Path
) -> None:
    library = Tokenizer.from_str(tokenizer_json(text_spec(folder)))
    plain = library.to_str()
    library.enable_truncation(4)
    library.enable_padding(length=8)
    text = ["sea salt wind wave ship sail"]
    assert list(Encoder(library.to_str()).encode(text)) == list(Encoder(plain).encode(text))


def test_a_tokenizer_without_a_token_that_the_task_needs_is_refused(folder: Path, tmp_path: Path) -> None:
    from tokenizers import models, pre_tokenizers

    bare = Tokenizer(models.WordLevel({"sea": 0, "salt": 1}))
    bare.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(
        BadInputError, match=r"data\.tokenizer: it has no token for a mask; known names: \[MASK\], <mask>"
    ):
        Encoder(bare.to_str()).special(MASK, "a mask")
    bare.add_special_tokens(["<pad>"])
    assert Encoder(bare.to_str()).special(PAD, "padding") == 2


def test_a_length_without_room_for_text_is_refused(folder: Path) -> None:
    with pytest.raises(BadInputError, match=r"data\.length: 2; the frame of a sentence takes 2; legal: from 3"):
        open_text(text_spec(folder, "masked", length=2), "train")
