"""Ready models in the registry: children of learngenes, one version each, told apart from learngenes everywhere."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import zoo
from pipelines import cli
from registry.entries import find_entry, list_entries
from registry.promote import set_alias
from registry.ready import find_ready, list_ready, pull_any, register_ready
from registry.register import register
from registry.search import find
from zoo.checkpoint import read_checkpoint
from zoo.errors import BadInputError, IntegrityError, NotFoundError
from zoo.files import digest_folder
from zoo.learngene import Learngene
from zoo.ready import READY, read_ready

MakeLearngene = Callable[..., Path]
Make = Callable[..., Path]
SCHEMA1 = Path(__file__).parents[1] / "zoo" / "schema1" / "front"


@pytest.fixture
def make(learngene: MakeLearngene, ready_home: Path, tmp_path: Path) -> Make:
    """Makes ready models of a registered learngene through the command line; their folders."""
    set_alias("vit", "champion", register(learngene(), "vit", metrics={}).version)

    def call(width: int = 8, *words: str) -> Path:
        out = tmp_path / f"ready{width}"
        assert run("instantiate", "vit", "--depth", "2", "--width", str(width), "--out", str(out), *words) == 0
        return out

    return call


def run(*words: str) -> int:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr("sys.argv", ["zoo", *words])
        cli.main()
    return int(end.value.code or 0)


def test_a_model_is_one_version_however_often_it_is_registered(make: Make) -> None:
    folder, other = make(8), make(12)
    first = register_ready(folder, "vit.ready", "edge")
    assert register_ready(folder, "vit.ready", "edge") == first
    second = register_ready(other, "vit.ready", "edge")
    assert [(entry.version, entry.aliases) for entry in list_ready()] == [(1, ()), (2, ("edge",))]
    assert find_ready("vit.ready@edge") == find_ready("vit.ready") == second
    assert (first.parent, first.parent_ref) == (find_entry("vit").digest, "vit:1")


def test_learngenes_and_ready_models_are_told_apart(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    register_ready(make(), "vit.ready")
    with caplog.at_level(logging.WARNING):
        assert [entry.ref for entry in list_entries()] == ["vit:1"]
        assert [found.entry.ref for found in find().found] == ["vit:1"]
    assert [record for record in caplog.records if record.name.startswith("registry")] == []
    with pytest.raises(BadInputError, match=r"vit\.ready:1 is a ready model, not a learngene"):
        find_entry("vit.ready")
    with pytest.raises(BadInputError, match="vit is a learngene, not a ready model"):
        find_ready("vit")
    with pytest.raises(BadInputError, match="'vit' is taken by learngenes"):
        register_ready(make(12), "vit")


def test_a_pulled_model_is_the_registered_one_and_loads_by_itself(make: Make, ready_home: Path) -> None:
    folder = make()
    entry = register_ready(folder, "vit.ready")
    pulled = pull_any("vit.ready")
    assert pulled == ready_home / "cache" / "ready" / entry.digest
    assert digest_folder(pulled) == digest_folder(folder)
    expected = Learngene.load(pull_any("vit")).expand(entry.size)
    assert all(torch.equal(expected[name], tensor) for name, tensor in read_checkpoint(pulled).weights.items())
    (pulled / "model.safetensors").write_bytes(b"damaged")
    assert digest_folder(pull_any("vit.ready")) == digest_folder(folder)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", READY])
def test_a_changed_file_in_the_store_is_refused_and_nothing_stays_in_the_cache(
    make: Make, ready_home: Path, file: str
) -> None:
    folder = make()
    register_ready(folder, "vit.ready")
    content = (folder / file).read_text(encoding="latin-1")
    (folder / file).write_text(content.replace("2", "3"), encoding="latin-1")
    with pytest.raises(IntegrityError, match=str(folder)):
        pull_any("vit.ready")
    cache = ready_home / "cache" / "ready"
    assert [path for path in cache.iterdir() if path.suffix != ".lock"] == []


def test_a_folder_that_names_files_outside_of_it_is_refused(make: Make) -> None:
    folder = make()
    content = json.loads((folder / READY).read_text(encoding="utf-8"))
    for name in ("../gene", "/etc/passwd", "a/b", ".hidden"):
        hostile = {**content, "files": {name: "0" * 64}}
        (folder / READY).write_text(json.dumps(hostile), encoding="utf-8")
        with pytest.raises(IntegrityError, match="field 'files"):
            read_ready(folder)


def test_the_verbs_know_ready_models(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(8, "--register", "vit.ready")
    capsys.readouterr()
    assert run("list", "--ready", "--json") == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["kind"], listed["parent_ref"], listed["aliases"]) == ("ready", "vit:1", ["2x8"])
    assert run("show", "vit.ready@2x8", "--json") == 0
    assert json.loads(capsys.readouterr().out) == listed
    assert run("pull", "vit.ready@2x8", "--out", str(tmp_path / "pulled")) == 0
    assert read_ready(tmp_path / "pulled").digest == listed["digest"]
    assert run("pull", "vit.ready@absent") == 3
    assert run("instantiate", "vit.ready", "--depth", "2", "--width", "8", "--out", str(tmp_path / "no")) == 2


def test_load_takes_a_name_from_the_registry(make: Make) -> None:
    """`zoo` itself knows no registry: it is found by its entry point."""
    model = zoo.load("vit@champion", depth=2, width=8)
    assert model.get_parameter("blocks.1.norm1.weight").shape == (8,)
    with pytest.raises(NotFoundError, match="no alias 'best'"):
        zoo.load("vit@best", depth=2, width=8)


def test_a_name_of_ready_models_takes_no_learngene(make: Make, learngene: MakeLearngene) -> None:
    register_ready(make(), "vit.ready")
    with pytest.raises(BadInputError, match=r"'vit\.ready' is taken by ready models"):
        register(learngene(1), "vit.ready", metrics={})
    assert [entry.ref for entry in list_ready("vit.ready")] == ["vit.ready:1"]


@pytest.mark.parametrize("verb", ["condense", "migrate"])
def test_a_name_of_ready_models_is_refused_before_the_work(make: Make, tmp_path: Path, verb: str) -> None:
    folder, out = make(8, "--register", "vit.ready"), tmp_path / "new"
    words = ("--out", str(out)) if verb == "migrate" else ()
    assert run(verb, str(SCHEMA1 if verb == "migrate" else folder), *words, "--name", "vit.ready") == 2
    assert not out.exists()
    assert list_entries() == list_entries("vit")
