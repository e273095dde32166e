"""Many ready models of one learngene: each by a task of its own, on a real Ray."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from infra.cluster import Cluster, connect
from pipelines import cli
from pipelines.models.fan_out import Row, fan_out, plan, register
from pipelines.models.making import Fit, Making, Source
from registry.entries import list_entries
from registry.pull import pull
from registry.ready import list_ready
from registry.register import register as register_learngene
from zoo.api import condense
from zoo.checkpoint import Checkpoint, read_checkpoint
from zoo.errors import BadInputError
from zoo.families import architecture
from zoo.learngene import Learngene
from zoo.methods.front import Front
from zoo.ready import verify_ready
from zoo.size import Size

SIZES = "sizes:\n- {depth: 2, width: 8}\n- {name: edge, max_params: 2K}\n- {name: wide, depth: 3, width: 12}\n"


@dataclass(frozen=True)
class Place:
    """A home with a registered learngene, and a Ray that has this home."""

    home: Path
    gene: Path
    sizes: Path
    cluster: Cluster


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    home = tmp_path_factory.mktemp("home")
    arch = architecture("mlp", {"img_size": 8, "in_chans": 1, "num_classes": 10}, Size(depth=2, width=8))
    generator = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(shape, generator=generator) for name, shape in arch.shapes().items()}
    condense(Checkpoint(arch, weights, digest="ab" * 32), Front()).save(home / "gene")
    (home / "sizes.yaml").write_text(SIZES, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(home))
        register_learngene(home / "gene", "mlp", metrics={})
        with connect("local", cpus=2) as cluster:
            yield Place(home, home / "gene", home / "sizes.yaml", cluster)


@pytest.fixture(autouse=True)
def at_home(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_HOME", str(place.home))


def states(rows: list[Row]) -> dict[str, str]:
    return {row.name: row.state for row in rows}


def make(place: Place, rows: list[Row], how: Making, ref: str = "mlp") -> None:
    fan_out(Source.of(ref), rows, how, place.cluster, lambda _: None)


def test_a_failing_size_takes_no_other_with_it_and_the_next_call_makes_what_is_missing(
    place: Place, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    source, how, out = Source.of("mlp"), Making(), tmp_path / "out"
    rows = plan(source, place.sizes, how, out)
    (out / ".wide.of-a-killed-task").mkdir(parents=True)
    wanted, rows[1].out = rows[1].out, tmp_path / "file" / "edge"
    make(place, rows, how)
    assert states(rows) == {"2x8": "done", "edge": "failed", "wide": "done"}
    assert "FileExistsError" in rows[1].why
    assert sorted(path.name for path in out.iterdir()) == ["2x8", "wide"]

    again = plan(source, place.sizes, how, out)
    assert (states(again), again[1].out) == ({"2x8": "kept", "edge": "waiting", "wide": "kept"}, wanted)
    make(place, again, how)
    assert states(again) == {"2x8": "kept", "edge": "done", "wide": "kept"}
    assert again[1].parameters <= 2000
    made, gene = read_checkpoint(out / "wide"), Learngene.load(place.gene)
    want = gene.expand(gene.size(3, 12))
    assert all(torch.equal(made.weights[name], tensor) for name, tensor in want.items())


def test_tasks_take_the_learngene_from_the_cache_of_their_node(place: Place, tmp_path: Path) -> None:
    folder = pull("mlp")
    source, how = Source.of("mlp"), Making()
    rows = plan(source, place.sizes, how, tmp_path)
    place.gene.rename(place.home / "away")
    try:
        make(place, rows, how)
    finally:
        (place.home / "away").rename(place.gene)
    assert set(states(rows).values()) == {"done"}
    assert [path for path in folder.parent.iterdir() if path.suffix != ".lock"] == [folder]


def test_models_are_fitted_scored_and_registered_as_children_once(place: Place, tmp_path: Path) -> None:
    source, how = Source.of("mlp"), Making(data="digits", fit=Fit(calibrate=32))
    rows = plan(source, place.sizes, how, tmp_path)
    make(place, rows, how)
    register(rows, "mlp.ready", lambda _: None)
    rows = plan(source, place.sizes, how, tmp_path)
    register(rows, "mlp.ready", lambda _: None)
    assert set(states(rows).values()) == {"kept"}
    entries = list_ready("mlp.ready")
    assert [entry.aliases for entry in entries] == [("2x8",), ("edge",), ("wide",)]
    assert {(entry.parent, entry.parent_ref) for entry in entries} == {(Learngene.load(place.gene).digest, "mlp:1")}
    for row, entry in zip(rows, entries, strict=True):
        assert (entry.ref, entry.digest, entry.size) == (row.entry, verify_ready(row.out).digest, row.size)
        assert entry.metrics["accuracy"] == row.scores["accuracy"]
    assert [entry.name for entry in list_entries()] == ["mlp"]


def test_a_model_that_was_made_otherwise_or_is_damaged_is_made_anew(place: Place, tmp_path: Path) -> None:
    source = Source.of(str(place.gene))
    rows = plan(source, place.sizes, Making(), tmp_path)
    make(place, rows, Making(), str(place.gene))
    (tmp_path / "edge" / "model.safetensors").write_bytes(b"damaged")
    assert states(plan(source, place.sizes, Making(), tmp_path))["edge"] == "waiting"
    other = Making(head={"num_classes": 3})
    assert set(states(plan(source, place.sizes, other, tmp_path)).values()) == {"waiting"}
    shutil.rmtree(tmp_path / "edge")
    (tmp_path / "edge").mkdir()
    (tmp_path / "edge" / "thesis.tex").touch()
    with pytest.raises(BadInputError, match="edge holds something else"):
        plan(source, place.sizes, Making(), tmp_path)


def call(*words: str | Path) -> int:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr("sys.argv", ["zoo", *map(str, words)])
        cli.main()
    return int(end.value.code or 0)


def test_the_verb_needs_no_ray_for_what_is_there_and_says_how_it_is(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = plan(Source.of("mlp"), place.sizes, Making(), tmp_path)
    make(place, rows, Making())
    command = ("instantiate", "mlp", "--sizes", place.sizes, "--out", tmp_path, "--register", "mlp.other", "--json")
    assert call(*command) == 0  # a second Ray in this process would be refused
    answer: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    assert [(row["state"], row["entry"]) for row in answer] == [("kept", f"mlp.other:{i}") for i in (1, 2, 3)]
    store = place.home / "store" / "ready"
    store.rename(place.home / "aside")
    store.touch()  # nothing can be copied there
    assert call(*command) == 1
    answer = json.loads(capsys.readouterr().out)
    assert [(row["state"], "File exists" in row["why"]) for row in answer] == [("failed", True)] * 3
    store.unlink()
    (place.home / "aside").rename(store)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--sizes", "sizes.yaml", "--depth", "2"), "--depth: --sizes says the sizes"),
        (("--width", "8"), "--depth: missing; give --depth and --width, or --sizes"),
        (("--depth", "2", "--width", "8", "--address", "auto"), "--address: a single model is made in this process"),
        (("--sizes", "sizes.yaml", "--register", "mlp"), "'mlp' is taken by learngenes"),
    ],
)
def test_what_does_not_go_together_is_refused(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    assert call("instantiate", "mlp", *words, "--out", tmp_path / "out") == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
