"""Files that are whole or not there, and one text for one value."""

import errno
import hashlib
import json
import stat
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zoo_samples import few

from zoo.errors import BadInputError, IntegrityError, ZooError
from zoo.files import (
    atomic_folder,
    canonical_json,
    check_out,
    digest_file,
    digest_folder,
    digest_json,
    home,
    write_json,
)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


class BoomError(Exception):
    pass


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "deep" / "target") as temporary:
        (temporary / "inner").mkdir()
        (temporary / "inner" / "file").write_text("content")
        assert not (tmp_path / "deep" / "target").exists()
    assert (tmp_path / "deep" / "target" / "inner" / "file").read_text() == "content"
    assert names(tmp_path / "deep") == ["target"]
    assert stat.S_IMODE((tmp_path / "deep" / "target").stat().st_mode) == 0o755


def test_a_folder_replaces_the_one_before(tmp_path: Path) -> None:
    for name in ("old", "new"):
        with atomic_folder(tmp_path / "target") as temporary:
            (temporary / name).touch()
    assert names(tmp_path) == ["target"]
    assert names(tmp_path / "target") == ["new"]


@pytest.mark.parametrize("error", [BoomError, KeyboardInterrupt])
def test_after_an_error_no_folder_is_left(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), atomic_folder(tmp_path / "target") as temporary:
        (temporary / "half").touch()
        raise error
    assert names(tmp_path) == []


def test_after_an_error_the_folder_before_is_intact(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "target") as temporary:
        (temporary / "file").write_text("before")
    with pytest.raises(BoomError), atomic_folder(tmp_path / "target") as temporary:
        (temporary / "file").write_text("after")
        raise BoomError
    assert names(tmp_path) == ["target"]
    assert (tmp_path / "target" / "file").read_text() == "before"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_no_space_and_no_quota_are_one_error(tmp_path: Path, code: int) -> None:
    with pytest.raises(IntegrityError, match="target: the disk is full"), atomic_folder(tmp_path / "target"):
        raise OSError(code, "in the language of the system")
    assert names(tmp_path) == []


def test_other_errors_of_the_system_are_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_folder(tmp_path / "target") as temporary:
        (temporary / "missing").read_text()


@pytest.mark.parametrize("value", [{"x": float("nan")}, {"x": Path()}, {"x": object()}])
def test_json_that_cannot_be_written_leaves_the_file_as_it_was(tmp_path: Path, value: object) -> None:
    write_json(tmp_path / "file.json", {"before": [1, 2]})
    with pytest.raises((ValueError, TypeError)):
        write_json(tmp_path / "file.json", value)
    with pytest.raises((ValueError, TypeError)):
        write_json(tmp_path / "new.json", value)
    assert names(tmp_path) == ["file.json"]
    assert json.loads((tmp_path / "file.json").read_text()) == {"before": [1, 2]}


@few
@given(value=values)
def test_written_json_reads_back(value: object, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "value.json"
    write_json(path, value)
    assert json.loads(path.read_text(encoding="utf-8")) == value


@few
@given(values)
def test_canonical_json_is_json_without_choices(value: object) -> None:
    text = canonical_json(value)
    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text


def test_canonical_json_does_not_know_the_order_of_keys() -> None:
    assert canonical_json({"b": 1, "a": {"d": 2, "c": 3}}) == canonical_json({"a": {"c": 3, "d": 2}, "b": 1})
    assert canonical_json({"b": [1, "ü"], "a": None}) == '{"a":null,"b":[1,"ü"]}'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [-float("inf")]])
def test_canonical_json_refuses_what_is_no_number(value: object) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json(value)


@pytest.mark.parametrize("value", [Path("x"), {1, 2}, b"x", date(2026, 1, 1), object(), {"x": {(1, 2): 3}}])
def test_canonical_json_refuses_to_guess(value: object) -> None:
    with pytest.raises(TypeError):
        canonical_json(value)


def test_digests_are_sha256_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    assert digest_file(tmp_path / "file") == hashlib.sha256(b"content").hexdigest()
    assert digest_json({"a": 1}) == hashlib.sha256(b'{"a":1}').hexdigest()


def test_the_digest_of_a_folder_sees_names_and_bytes_but_not_the_place(tmp_path: Path) -> None:
    contents = {"same": ("f", "x"), "copy": ("f", "x"), "bytes": ("f", "y"), "name": ("g", "x")}
    for folder, (name, text) in contents.items():
        (tmp_path / folder / "inner").mkdir(parents=True)
        (tmp_path / folder / "inner" / name).write_text(text)
    digests = {folder: digest_folder(tmp_path / folder) for folder in contents}
    assert digests["same"] == digests["copy"]
    assert len(set(digests.values())) == 3


def test_home_is_absolute_and_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_HOME", "relative")
    monkeypatch.chdir(tmp_path)
    assert home() == tmp_path / "relative"
    monkeypatch.setenv("ZOO_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert home() == tmp_path / ".learngene-zoo"


def test_every_error_has_an_exit_code_of_its_own() -> None:
    mine = [error for error in ZooError.__subclasses__() if error.__module__ == ZooError.__module__]
    codes = {error.__name__: error.exit_code for error in mine}
    assert codes == {"BadInputError": 2, "NotFoundError": 3, "IntegrityError": 4, "GateRefusedError": 5}


@pytest.mark.parametrize("place", ["letter.txt", "letter.txt/deeper", "mine", "."])
def test_a_result_goes_nowhere_that_it_cannot_or_must_not_replace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "letter.txt").touch()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    (tmp_path / "mine" / "results.json").touch()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty" if place == "." else tmp_path)
    with pytest.raises(BadInputError, match=r"^--out: "):
        check_out(Path(place), ("results.json",))


def test_a_result_may_replace_an_earlier_one(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "results.json").touch()
    check_out(tmp_path / "old", ("results.json", "plot.png"))
    check_out(tmp_path / "new" / "deep")
