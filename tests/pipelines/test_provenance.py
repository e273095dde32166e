"""Provenance: what a learngene says of the stages before it, what they took, and nothing that is secret."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from pico_recipe import FRONT, PICO

from pipelines.artifacts.store import EFFORT, OUTPUT, PROGRESS, Record, Store
from pipelines.recipe.file import load_recipe
from pipelines.recipe.identity import describe, stage_keys
from pipelines.recipe.recipe import Recipe
from pipelines.recipe.stages import Pretrain
from pipelines.run.effort import environment, measured, read_effort
from pipelines.run.provenance import Gathered
from pipelines.stages import run_condense
from pipelines.stages.common import Job
from zoo import save_checkpoint
from zoo.checkpoint import Checkpoint
from zoo.errors import IntegrityError
from zoo.families import architecture
from zoo.files import digest_file, write_json
from zoo.manifest import verify
from zoo.provenance import PROVENANCE, Effort, Provenance, read_provenance

LINE = "# from https://me:secret@host.example/recipes?token=hidden\n"
RECIPE = LINE + PICO.replace("batch: 32", "batch: 32, seed: 7") + FRONT


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return load_recipe(path, ("stages.ancestor.train.lr=0.5",))


def ancestor_of(recipe: Recipe, store: Store, effort: Effort | None) -> None:
    """Put a trained ancestor into the store, as its stage would."""
    stage, key = recipe.stages["ancestor"], stage_keys(recipe)["ancestor"]
    assert isinstance(stage, Pretrain)
    arch = architecture(recipe.family, recipe.config, stage.size)
    weights = {name: torch.randn(shape) for name, shape in arch.shapes().items()}
    with store.lease(key, lambda _: None, lambda: False) as place:
        assert place
        save_checkpoint(place.work / OUTPUT, Checkpoint(arch, weights), origin="A test.")
        store.commit(place, "ancestor", describe(recipe, stage, {}), {"flops": 1e9}, 5.0, effort)


def condensed(recipe: Recipe, store: Store) -> Path:
    """Run stage `front` as a worker does, and let it write its provenance; the folder."""
    keys = stage_keys(recipe)
    gathered = Gathered.of(recipe, "front", keys, store)
    with store.lease(keys["front"], lambda _: None, lambda: False) as place:
        assert place
        job = Job(recipe=recipe, name="front", work=place.work, inputs={"weights": store.output(keys["ancestor"])})
        run_condense(job.model_dump_json(by_alias=True))
        effort = read_effort(place.work)
        gathered.write(place.work / OUTPUT, {}, effort)
        store.commit(place, "front", describe(recipe, recipe.stages["front"], keys), {}, 1.0, effort)
    return store.verified(keys["front"])


def told(folder: Path) -> Provenance:
    provenance = read_provenance(folder)
    assert provenance is not None
    return provenance


def test_a_learngene_names_its_recipe_its_data_and_all_stages_before_it(recipe: Recipe, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    ancestor_of(recipe, store, Effort(environment=environment(), starts=2, core_seconds=7200, gpu_seconds=3600))
    folder = condensed(recipe, store)
    provenance, manifest = told(folder), verify(folder)
    assert provenance.learngene == manifest.digest
    ancestor, own = provenance.stages
    assert (ancestor.stage, ancestor.function, ancestor.seed) == ("ancestor", "pretrain/3", 7)
    assert ancestor.config["train"]["lr"] == 0.5
    assert (ancestor.digest,) == manifest.parents == (own.inputs["weights"].digest,)
    assert own.environment and own.environment.versions["torch"] == torch.__version__.partition("+")[0]
    assert provenance.recipe and provenance.recipe.overrides == ("stages.ancestor.train.lr=0.5",)
    assert provenance.data and provenance.data.kind == "digits"
    assert (provenance.cost.gpu_hours, provenance.cost.flops) == (1.0, 1e9)
    assert provenance.cost.core_hours == pytest.approx(2.0, abs=0.1)


def test_no_credentials_are_kept(recipe: Recipe, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    ancestor_of(recipe, store, None)
    text = (condensed(recipe, store) / PROVENANCE).read_text(encoding="utf-8")
    assert "https://host.example/recipes" in text
    assert not [word for word in ("secret", "hidden", str(tmp_path)) if word in text]


def test_the_cost_of_a_stage_that_is_older_than_the_count_is_not_guessed(recipe: Recipe, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    ancestor_of(recipe, store, None)
    provenance = told(condensed(recipe, store))
    assert (provenance.stages[0].cost.core_hours, provenance.cost.core_hours) == (None, None)
    assert provenance.cost.flops == 1e9


def test_a_record_of_an_earlier_version_is_read(recipe: Recipe, tmp_path: Path) -> None:
    store, key = Store(tmp_path / "store"), stage_keys(recipe)["ancestor"]
    ancestor_of(recipe, store, None)
    path = store.output(key).parent / "record.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["effort"]
    write_json(path, content)
    assert isinstance(store.record(key), Record)


def test_a_start_that_was_cut_off_counts_up_to_its_last_progress(tmp_path: Path) -> None:
    with measured(tmp_path, cores=4, gpus=2):
        now = (tmp_path / EFFORT).stat().st_mtime
        (tmp_path / PROGRESS).touch()
        os.utime(tmp_path / PROGRESS, (now + 10, now + 10))
        cut_off = read_effort(tmp_path)
        with measured(tmp_path, cores=1, gpus=0):  # a later start, while the first one never ended
            pass
        both = read_effort(tmp_path)
    assert cut_off and (cut_off.core_seconds, cut_off.gpu_seconds) == (40, 20)
    assert both and (both.starts, both.gpu_seconds) == (2, 20)
    assert both.core_seconds == pytest.approx(40, abs=2)


def test_the_commit_of_a_checkout_is_that_of_git() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    assert environment().code.commit == (done.stdout.strip() or None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content | {"more": 1}, "'more': Extra inputs"),
        (lambda content: content | {"stages": []}, "'stages': "),
        (lambda content: content | {"learngene": "x"}, "'learngene': "),
        (lambda content: [content], "valid dictionary"),
    ],
)
def test_what_is_no_provenance_is_refused(recipe: Recipe, tmp_path: Path, change: object, message: str) -> None:
    store = Store(tmp_path / "store")
    ancestor_of(recipe, store, None)
    folder = condensed(recipe, store)
    promised = digest_file(folder / PROVENANCE)
    assert read_provenance(folder, promised)
    content = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
    assert callable(change)
    write_json(folder / PROVENANCE, change(content))
    with pytest.raises(IntegrityError, match=message):
        read_provenance(folder)
    with pytest.raises(IntegrityError, match="registered was"):
        read_provenance(folder, promised)
