"""Every kind of stage, through the command line: what one gives, the next one takes."""

import json
from pathlib import Path

import pytest
from command_line import Zoo

from zoo import read_checkpoint

pytestmark = pytest.mark.slow
STAGES = Path(__file__).parent / "all_stages.yaml"


@pytest.fixture(scope="module")
def outputs(zoo: Zoo) -> dict[str, Path]:
    """The folders that the stages of the recipe left."""
    answer = zoo.process("run", STAGES, "--json")
    return {row["name"]: zoo.home / "store" / "stages" / row["key"] / "output" for row in answer.json["stages"]}


def manifest(folder: Path) -> dict[str, object]:
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


def test_a_distilled_learngene_names_its_ancestor(outputs: dict[str, Path]) -> None:
    assert manifest(outputs["wave"])["parents"] == [read_checkpoint(outputs["ancestor"]).digest]


def test_a_fitted_learngene_has_the_size_it_was_fitted_to(outputs: dict[str, Path]) -> None:
    fitted = manifest(outputs["fitted"])
    assert fitted["size"] == {"depth": 3, "width": 48, "heads": 3, "mlp": 192}


def test_refinement_lowers_the_share_of_high_frequencies(outputs: dict[str, Path]) -> None:
    before, after = (read_checkpoint(outputs[name]).weights for name in ("ancestor", "refined"))
    assert any(not before[name].equal(after[name]) for name in before)


def test_a_model_started_from_a_learngene_has_the_wanted_size(outputs: dict[str, Path]) -> None:
    assert str(read_checkpoint(outputs["started"]).arch.size) == "3x48"


def test_tuning_leaves_out_what_diverges_and_keeps_the_best(outputs: dict[str, Path]) -> None:
    tuned = json.loads((outputs["tuned"] / "tuned.json").read_text(encoding="utf-8"))
    losses = [row["eval_loss"] for row in tuned["trials"]]
    assert len(losses) == 4
    assert tuned["best"]["lr"] == 1e-3
    assert tuned["best"]["eval_loss"] == min(loss for loss in losses if loss is not None)


def test_a_widened_model_has_whole_multiples(outputs: dict[str, Path]) -> None:
    assert str(read_checkpoint(outputs["widened"]).arch.size) == "2x64"


def test_a_second_run_finds_everything_done(zoo: Zoo, outputs: dict[str, Path]) -> None:
    rows = zoo("plan", STAGES, "--json").json
    assert {row["state"] for row in rows} == {"cached"}
    assert len(rows) == len(outputs)


def test_the_registry_and_folders_can_be_ancestors(zoo: Zoo, outputs: dict[str, Path], tmp_path: Path) -> None:
    """Their content counts: the same checkpoint from the registry's learngene or another path has the same key."""
    text = STAGES.read_text(encoding="utf-8")
    elsewhere = tmp_path / "ancestor"
    elsewhere.symlink_to(outputs["ancestor"])
    keys = []
    for folder in (outputs["ancestor"], elsewhere):
        recipe = tmp_path / "recipe.yaml"
        recipe.write_text(text.replace("ancestor: {stage: ancestor}", f"ancestor: {{folder: {folder}}}"))
        keys.append({row["name"]: row["key"] for row in zoo("plan", recipe, "--json").json}["wave"])
    assert keys[0] == keys[1]
    recipe.write_text(text.replace("ancestor: {stage: ancestor}", "ancestor: {entry: stages.front@champion}"))
    states = {row["name"]: row["state"] for row in zoo("run", recipe, "--json").json["stages"]}
    assert states["wave"] == "done"
