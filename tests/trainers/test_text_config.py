"""What a recipe says about text, and the identity of the text."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pico_text import text_spec, write_corpus, write_reviews, write_text
from pydantic import ValidationError

from trainers.data.config import Text
from trainers.data.identity import identity
from trainers.data.tokenizer import train_tokenizer
from zoo.errors import BadInputError, NotFoundError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "data")


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    path = tmp_path / "tokenizer" / "tokenizer.json"
    path.parent.mkdir()
    path.write_text(train_tokenizer(["sea salt and sea wind"], 262, framed=True), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"vocab": 260}, r"vocab\n.*at least 261 \(256 bytes and the special tokens \[PAD\]"),
        ({"vocab": 0}, r"vocab\n.*at least 261 .* or leave it out and give tokenizer"),
        ({"length": 1}, "length"),
        ({"task": "translation"}, "task"),
        ({"classes": 2}, r"classes\n.*task classification"),
        ({"task": "classification"}, r"classes\n.*task classification"),
        ({"augment": {}}, "augment"),
    ],
)
def test_illegal_fields_are_refused_by_name(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Text.model_validate({"path": "x", "task": "causal", "length": 8, "vocab": 300, **fields})


def test_without_vocab_it_is_that_of_the_tokenizer(tokenizer: Path) -> None:
    for path in (tokenizer, tokenizer.parent):
        spec = Text(path="x", task="masked", length=8, tokenizer=str(path))
        assert spec.vocab == 262
        assert Text.model_validate_json(spec.model_dump_json()) == spec


def test_a_vocab_that_is_not_the_tokenizers_is_refused(tokenizer: Path) -> None:
    with pytest.raises(ValidationError, match=r"vocab\n.*has 262; leave it out"):
        Text(path="x", task="masked", length=8, tokenizer=str(tokenizer), vocab=300)


def test_a_tokenizer_that_is_not_there_or_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"data\.tokenizer.*nowhere"):
        Text(path="x", task="masked", length=8, tokenizer=str(tmp_path / "nowhere"))
    with pytest.raises(NotFoundError, match=r"there is no file .*tokenizer\.json"):
        Text(path="x", task="masked", length=8, tokenizer=str(tmp_path))
    (tmp_path / "other.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ValidationError, match=r"other\.json is no tokenizer\.json"):
        Text(path="x", task="masked", length=8, tokenizer=str(tmp_path / "other.json"))


def test_identity_is_plain_json_and_does_not_depend_on_the_path(folder: Path, tmp_path: Path) -> None:
    before = identity(text_spec(folder))
    assert json.loads(json.dumps(before)) == before
    assert identity(text_spec(shutil.copytree(folder, tmp_path / "elsewhere"))) == before
    (folder / "train.txt").rename(folder / "train-of-today.txt")
    assert identity(text_spec(folder)) == before


def test_identity_depends_on_every_byte(folder: Path) -> None:
    before = identity(text_spec(folder))
    text = (folder / "test.txt").read_bytes()
    (folder / "test.txt").write_bytes(text[:-2] + b"!\n")
    assert identity(text_spec(folder)) != before


@pytest.mark.parametrize(
    "fields", [{"length": 17}, {"vocab": 301}, {"limit": 5}, {"validation": 0.2}, {"task": "masked"}]
)
def test_identity_depends_on_what_changes_samples(folder: Path, fields: dict[str, Any]) -> None:
    assert identity(text_spec(folder, **fields)) != identity(text_spec(folder))


def test_identity_depends_on_the_tokenizer_but_not_on_where_it_lies(
    folder: Path, tokenizer: Path, tmp_path: Path
) -> None:
    def of(path: Path) -> dict[str, object]:
        return identity(text_spec(folder, tokenizer=str(path), vocab=0))

    before = of(tokenizer)
    assert of(Path(shutil.copy(tokenizer, tmp_path / "copy.json"))) == before
    tokenizer.write_text(train_tokenizer(["salt, salt"], 262, framed=True), encoding="utf-8")
    assert of(tokenizer) != before


def test_one_file_has_the_identity_of_its_bytes(tmp_path: Path) -> None:
    first, second = (write_text(tmp_path / name) for name in ("a.txt", "b.txt"))
    assert identity(text_spec(first)) == identity(text_spec(second))


def test_a_text_cannot_be_training_and_test_data(folder: Path) -> None:
    shutil.copy(folder / "train.txt", folder / "test-2.txt")
    with pytest.raises(BadInputError, match=r"test-2\.txt is also training data \(train\.txt\)"):
        identity(text_spec(folder))


def test_missing_files_say_what_is_there(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"data\.path.*nowhere"):
        identity(text_spec(tmp_path / "nowhere"))
    with pytest.raises(BadInputError, match=r"data\.train: no file in .* matches 'all\*'; there is: test\.txt, train"):
        identity(text_spec(folder, train="all*"))


def test_the_patterns_choose_the_files(tmp_path: Path) -> None:
    folder = write_reviews(tmp_path / "reviews")
    (folder / "test.tsv").rename(folder / "dev.tsv")
    assert identity(text_spec(folder, "classification", test="dev*"))["texts"].keys() == {"train", "test"}
