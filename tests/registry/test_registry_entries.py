"""Finding and listing entries, on real SQLite."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from registry import shelf
from registry.entries import Entry, find_entry, list_entries
from registry.promote import set_alias
from registry.register import register
from registry.server import connect
from zoo.errors import BadInputError, IntegrityError, NotFoundError

MakeLearngene = Callable[..., Path]

pytestmark = pytest.mark.usefixtures("ready_home")


@pytest.fixture
def three(ready_home: Path, learngene: MakeLearngene) -> None:
    """`vit` has versions 1 and 2, `vit-b.v2` version 1."""
    register(learngene(1), "vit", metrics={"accuracy": 0.5})
    register(learngene(2), "vit", metrics={"accuracy": 0.6})
    register(learngene(3), "vit-b.v2", metrics={"accuracy": 0.7})


def _foreign(name: str) -> None:
    """Register what another tool would: a model version without our tags."""
    with connect() as client:
        client.create_registered_model(name)
        client.create_model_version(name, "s3://bucket/model", tags={"team": "other"}, await_creation_for=0)


@pytest.mark.usefixtures("three")
def test_lists_are_sorted_and_can_be_of_one_name() -> None:
    assert [entry.ref for entry in list_entries()] == ["vit:1", "vit:2", "vit-b.v2:1"]
    assert [entry.ref for entry in list_entries("vit")] == ["vit:1", "vit:2"]


@pytest.mark.usefixtures("three")
def test_a_list_that_comes_in_pages_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = list_entries()
    monkeypatch.setattr(shelf, "PAGE", 1)
    assert list_entries() == whole
    assert [entry.metrics["accuracy"] for entry in whole] == [0.5, 0.6, 0.7]


@pytest.mark.usefixtures("three")
def test_lists_know_the_aliases() -> None:
    set_alias("vit", "champion", 1)
    set_alias("vit", "smallest", 1)
    set_alias("vit", "next", 2)
    assert [entry.aliases for entry in list_entries()] == [("champion", "smallest"), ("next",), ()]


@pytest.mark.usefixtures("three")
def test_a_plain_name_is_the_newest_until_there_is_a_champion() -> None:
    assert find_entry("vit").version == 2
    set_alias("vit", "champion", 1)
    assert find_entry("vit").version == 1


@pytest.mark.usefixtures("three")
def test_an_alias_and_a_version_find_their_entry_and_an_alias_moves() -> None:
    assert find_entry("vit:1").metrics["accuracy"] == 0.5
    assert set_alias("vit", "next", 1).aliases == ("next",)
    assert find_entry("vit@next").version == 1
    set_alias("vit", "next", 2)
    assert find_entry("vit@next").version == 2
    assert find_entry("vit:1").aliases == ()


@pytest.mark.usefixtures("three")
def test_what_is_not_there_is_answered_with_what_is() -> None:
    set_alias("vit", "champion", 1)
    with pytest.raises(NotFoundError, match=r"no 'vit-b' in the registry .*; did you mean vit-b.v2 or vit\?"):
        find_entry("vit-b@champion")
    with pytest.raises(NotFoundError, match=r"no 'gpt' in the registry .*; it has vit, vit-b.v2"):
        list_entries("gpt")
    with pytest.raises(NotFoundError, match=r"vit@champ: 'vit' has no alias 'champ'; it has champion"):
        find_entry("vit@champ")
    with pytest.raises(NotFoundError, match=r"vit-b.v2@champion: .* no alias 'champion'; it has none"):
        find_entry("vit-b.v2@champion")
    with pytest.raises(NotFoundError, match=r"vit:7: 'vit' has no version 7; it has 1, 2"):
        find_entry("vit:7")
    with pytest.raises(NotFoundError, match="no version 7"):
        set_alias("vit", "champion", 7)


@pytest.mark.parametrize("ref", ["", "a b", "a/b", "-a", ".", "a@", "a@b@c", "a:0", "a:v1", "a:1@b", "a'b", "a\n"])
def test_illegal_references_are_refused(ref: str) -> None:
    with pytest.raises(BadInputError, match="not legal; legal are"):
        find_entry(ref)


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("alias", ["latest", "Latest", "v1", "", "a b", "a@b"])
def test_aliases_that_would_mean_something_else_are_refused(alias: str) -> None:
    with pytest.raises(BadInputError, match=r"alias .* is not legal"):
        set_alias("vit", alias, 1)


@pytest.mark.usefixtures("three")
def test_model_versions_of_others_are_skipped_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    _foreign("others")
    with caplog.at_level(logging.WARNING, logger="registry.entries"):
        assert [entry.ref for entry in list_entries()] == ["vit:1", "vit:2", "vit-b.v2:1"]
    assert "skipped 1 model versions that are not learngenes: others:1" in caplog.text


def test_model_versions_of_others_are_never_found_as_a_learngene() -> None:
    _foreign("others")
    for ref in ("others", "others:1"):
        with pytest.raises(IntegrityError, match="others:1 is not a learngene"):
            find_entry(ref)
    with pytest.raises(IntegrityError, match="others:1 is not a learngene"):
        set_alias("others", "champion", 1)


def test_a_version_with_spoilt_tags_is_refused(learngene: MakeLearngene) -> None:
    register(learngene(), "vit", metrics={})
    with connect() as client:
        client.set_model_version_tag("vit", "1", "learngene.legal", "anything")
    with pytest.raises(IntegrityError, match="vit:1 is not a learngene"):
        find_entry("vit:1")


def test_an_entry_is_plain_json(learngene: MakeLearngene) -> None:
    folder: Path = learngene()
    entry = register(folder, "vit", metrics={"accuracy": 0.5})
    plain = entry.to_json()
    assert Entry.model_validate(plain) == entry
    assert plain["uri"] == folder.as_uri()
    assert plain["created"].endswith("Z")
