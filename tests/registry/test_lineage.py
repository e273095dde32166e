"""What `zoo show --tree` and `zoo card` say of a learngene: from the data to the models that were made from it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from pipelines import cli
from pipelines.models.cards import nearest
from pipelines.run.provenance import write_by_hand
from registry.entries import Entry, find_entry
from registry.lineage import children, holders
from registry.pull import pull
from registry.register import log_evidence, register
from registry.server import connect
from zoo import Learngene, Size
from zoo.files import digest_file
from zoo.provenance import PROVENANCE

MakeLearngene = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("ready_home")


@pytest.fixture
def zoo(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a command line prints; it ends well."""

    def call(*words: str) -> str:
        monkeypatch.setattr("sys.argv", ["zoo", *words])
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capsys.readouterr()
        assert not end.value.code, said.err
        return said.out

    return call


@pytest.fixture
def parent(learngene: MakeLearngene) -> Entry:
    """A learngene that was condensed by hand, in 7,200 seconds."""
    sha = write_by_hand(folder := learngene(0), 7200.0)
    return register(folder, "vit", metrics={}, tags={"provenance": sha, "license": "apache-2.0"})


@pytest.fixture
def family(parent: Entry, learngene: MakeLearngene, tmp_path: Path) -> Entry:
    """The parent of a learngene `child`, and of a ready model."""
    child = replace(Learngene.load(learngene(1)), parents=(parent.digest,))
    child.save(tmp_path / "child")
    register(tmp_path / "child", "child", metrics={})
    size = '{"depth":2,"width":12,"heads":3,"mlp":24}'
    tags = {"kind": "ready", "parent": parent.digest, "parent-ref": "vit:1", "digest": "c" * 64, "size": size}
    tags |= {"family": "vit", "method": "front", "parameters": "1234", "flops": "99", "uri": "file:///ready"}
    ours = {f"learngene.{key}": text for key, text in tags.items()}
    with connect() as client:
        client.create_registered_model("vit.ready")
        client.create_model_version("vit.ready", "learngene:/x", tags=ours, await_creation_for=0)
    return parent


@pytest.fixture
def measured(parent: Entry, tmp_path: Path) -> Entry:
    """The parent with the evidence and the curves of a bench at two sizes, one censored."""
    (tmp_path / "report").mkdir()
    (tmp_path / "report/curves.png").write_bytes(b"curves")
    numbers = {}
    for size, speed, censored in (("1x8", 400.0, 1.0), ("6x16", 2.5, 0.0)):
        numbers |= {f"bench/b/front/{size}/{what}": value for what, value in (("accuracy", 0.75), ("reference", 0.7))}
        numbers |= {f"bench/b/front/{size}/speed_up": speed, f"bench/b/front/{size}/censored": censored}
    return log_evidence(parent, numbers, tmp_path / "report", "bench/b")


def test_the_registry_knows_who_holds_a_digest_and_what_was_made_from_it(family: Entry) -> None:
    assert [entry.ref for entry in holders(family.digest)] == ["vit:1"]
    assert [(child.ref, child.is_learngene) for child in children(family.digest)] == [
        ("child:1", True),
        ("vit.ready:1", False),
    ]
    assert (holders("0" * 64), children("0" * 64)) == ([], [])


def test_the_tree_goes_up_to_what_was_given_and_down_to_ready_models(family: Entry, zoo: Callable[..., str]) -> None:
    lineage = json.loads(zoo("show", "vit", "--tree", "--json"))["lineage"]
    (stage,) = lineage["origins"]
    assert (stage["kind"], stage["name"], stage["facts"]["cost"]) == ("stage", "condense", "2 core hours")
    assert [(node["kind"], node["digest"]) for node in stage["of"]] == [("folder", "ab" * 32)]
    assert [(node["kind"], node["name"]) for node in lineage["children"]] == [
        ("learngene", "child:1"),
        ("ready model", "vit.ready:1"),
    ]
    before, after = zoo("show", "vit", "--tree").partition("made from\n")[2].split("made from it\n")
    assert "folder given abababababab" in before
    assert "ready model vit.ready:1" in after


def test_the_tree_of_a_child_without_a_provenance_finds_its_parent_by_digest(
    family: Entry, zoo: Callable[..., str]
) -> None:
    (node,) = json.loads(zoo("show", "child", "--tree", "--json"))["lineage"]["origins"]
    assert (node["kind"], node["name"], node["facts"]["cost of all"]) == ("learngene", "vit:1", "2 core hours")
    assert [inner["name"] for inner in node["of"]] == ["condense"]


def test_show_says_what_people_ask_for_and_no_internals(
    measured: Entry, zoo: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    with connect() as client:
        client.set_model_version_tag("vit", "1", "gate", '{"bench":"b"}')
    shown = zoo("show", "vit")
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in shown.splitlines()]
    rows = {row[0]: row[1] for row in cells if len(row) == 2}
    assert rows["gives"] == str(measured.legal)
    assert (rows["tag license"], rows["tag gate"]) == ("apache-2.0", '{"bench":"b"}')
    assert not [word for word in ("None", "'multiple'", "head_dim", "schema_version") if word in shown]


def test_show_says_what_a_learngene_cost_and_which_speed_ups_are_censored(
    measured: Entry, zoo: Callable[..., str]
) -> None:
    content = json.loads(zoo("show", "vit", "--json"))
    assert content["cost"]["core_hours"] == 2
    assert [(row["size"], row["speed_up"], row["censored"]) for row in content["evidence"]] == [
        ("1x8", 400.0, 1.0),
        ("6x16", 2.5, 0.0),
    ]
    shown = zoo("show", "vit")
    assert [words in shown for words in ("2 core hours", "≥ 400 x", " 2.5 x", "≥ 2.5")] == [True, True, True, False]
    assert "speed-up ≥ 400" in zoo("find", "--explain")


def test_what_is_not_the_registered_provenance_is_left_out_with_a_warning(
    parent: Entry, learngene: MakeLearngene, zoo: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    pull("vit")
    path = learngene_folder(parent) / PROVENANCE
    path.write_text(path.read_text(encoding="utf-8").replace("condense", "condensed"), encoding="utf-8")
    assert "provenance" in json.loads(zoo("show", "vit", "--json"))  # the copy of this node is whole
    shutil.copy(path, pull("vit"))
    assert "provenance" not in json.loads(zoo("show", "vit", "--json"))
    assert "is left out" in caplog.text


def learngene_folder(entry: Entry) -> Path:
    return Path(entry.uri.removeprefix("file://"))


def test_a_pulled_learngene_brings_its_provenance(parent: Entry) -> None:
    assert digest_file(pull("vit") / PROVENANCE) == find_entry("vit").tags["provenance"]


def test_a_card_has_evidence_curves_lineage_and_licence(
    measured: Entry, zoo: Callable[..., str], tmp_path: Path
) -> None:
    zoo("card", "vit", "--out", str(tmp_path / "card"))
    assert sorted(path.name for path in (tmp_path / "card").iterdir()) == ["README.md", "b-curves.png"]
    text = (tmp_path / "card/README.md").read_text(encoding="utf-8")
    card = ModelCard(text)
    assert card.data.to_dict().items() >= {"license": "apache-2.0", "library_name": "learngene-zoo"}.items()
    for line in (
        "| b | front | 1x8 | 75.0 % | - | 70.0 % | ≥ 400 x |",
        "![While training (b)](b-curves.png)",
        f"| condense | condense |  | `{measured.digest[:12]}` | 2 core hours |",
        'model = zoo.load("vit:1", depth=1, width=8)',
    ):
        assert f"\n{line}\n" in text
    assert json.loads(zoo("card", "vit", "--json")) == {"card": zoo("card", "vit")}
    assert "(1 stage)" in text
    assert zoo("card", "vit").split() == text.replace("![While training (b)](b-curves.png)", "").split()


def test_the_card_of_a_ready_model_names_its_learngene_and_the_nearest_measured_size(
    measured: Entry, zoo: Callable[..., str], tmp_path: Path
) -> None:
    zoo("instantiate", "vit", "--depth", "5", "--width", "16", "--out", str(tmp_path / "m"))
    text = (tmp_path / "m/README.md").read_text(encoding="utf-8")
    assert "| started from | `vit:1` |" in text
    assert f"| its digest | `{measured.digest}` |" in text
    assert "| b | front | 6x16 | 75.0 % | - | 70.0 % | 2.5 x |" in text


def test_nothing_is_near_where_nothing_was_measured(learngene: MakeLearngene) -> None:
    found = Learngene.load(learngene(0))
    row: dict[str, Any] = {"bench": "b", "start": "s", "size": "1x8", "accuracy": 0.5}
    assert nearest(found, Size(depth=1, width=8, heads=2, mlp=16), []) is None
    assert nearest(found, Size(depth=9, width=8, heads=2, mlp=16), [row]) is not None
