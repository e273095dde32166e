"""Gates and tags that a recipe gives to what it registers: candidate first, champion when the bench has shown it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.artifacts.store import OUTPUT, Store
from pipelines.models.making import condense_folder
from pipelines.recipe.identity import stage_keys
from pipelines.recipe.recipe import Recipe
from pipelines.run.registration import register as register_recipe
from pipelines.run.runner import plan
from registry.candidates import judge_candidates
from registry.entries import Entry, find_entry
from registry.promote import history, promote, rollback, set_alias
from registry.register import log_evidence, register
from zoo.api import instantiate
from zoo.checkpoint import write_checkpoint
from zoo.errors import GateRefusedError
from zoo.learngene import Learngene

MakeLearngene = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("ready_home")
GATE = {"bench": "pico", "metric": "accuracy", "sizes": ["1x8"], "least": 0.5}


@pytest.fixture
def build(learngene: MakeLearngene, tmp_path: Path) -> Callable[..., Entry]:
    """Registers learngene `seed` through a recipe, as `zoo run` does after its stages."""

    def build(seed: int, **registered: Any) -> Entry:
        stage = {"run": "condense", "weights": {"folder": learngene(seed)}}
        content = {"name": "pico", "family": "vit", "data": {"kind": "digits"}, "stages": {"front": stage}}
        recipe = Recipe.model_validate(content | {"register": {"pico.front": {"stage": "front"} | registered}})
        store = Store(tmp_path / "zoo")
        with store.lease(stage_keys(recipe)["front"], lambda _: None, lambda: False) as place:
            if place:
                shutil.copytree(learngene(seed), place.work / OUTPUT)
                store.commit(place, "front", {"function": "condense/3", "config": {}, "inputs": {}}, {}, 1.0)
        (entry,) = register_recipe(recipe, store, plan(recipe, store))
        return entry

    return build


@pytest.fixture
def measure(tmp_path: Path) -> Callable[[Entry, float], None]:
    """Logs an accuracy as bench `pico` does."""
    (tmp_path / "report").mkdir()

    def measure(entry: Entry, accuracy: float) -> None:
        log_evidence(entry, {"bench/pico/front/1x8/accuracy": accuracy}, tmp_path / "report", "bench/pico")

    return measure


def test_what_is_condensed_by_hand_is_a_candidate_where_the_name_has_a_gate(
    build: Callable[..., Entry], measure: Callable[[Entry, float], None], tmp_path: Path
) -> None:
    entry = build(0, gate=GATE)
    learngene = Learngene.load(Path(entry.uri.removeprefix("file://")))
    checkpoint = instantiate(learngene, learngene.size(1, 8))
    write_checkpoint(tmp_path / "model", checkpoint, origin="a test")
    measure(entry, 0.9)
    set_alias("pico.front", "champion", 1)
    made = condense_folder(tmp_path / "model", "front", ("keep=0.5",), "pico.front")
    assert (made.version, made.aliases) == (2, ("candidate",))
    assert condense_folder(tmp_path / "model", "front", ("keep=0.5",), "free").aliases == ("champion",)
    with pytest.raises(GateRefusedError, match="was not measured"):
        promote("pico.front:2")


def test_without_a_gate_the_newest_version_is_the_champion(build: Callable[..., Entry]) -> None:
    assert [build(seed).aliases for seed in (0, 1)] == [("champion",), ("champion",)]
    assert find_entry("pico.front@previous").version == 1
    assert build(0).aliases == ("previous",)  # an old result undoes no later choice


def test_gate_task_and_tags_stand_with_the_version(build: Callable[..., Entry]) -> None:
    tags = build(0, gate=GATE, task="digits", tags={"team": "edge"}).tags
    assert tags.items() >= {"task": "digits", "team": "edge", "recipe": "pico", "stage": "front"}.items()
    assert tags["gate"] == '{"bench":"pico","gain":0.0,"least":0.5,"metric":"accuracy","sizes":["1x8"],"worse":0.0}'


def test_a_version_with_a_gate_is_a_candidate_till_its_bench_has_run(
    build: Callable[..., Entry], measure: Callable[..., None]
) -> None:
    first = build(0, gate=GATE)
    assert first.aliases == ("candidate",)
    assert judge_candidates([first], "another").promoted == []
    measure(first, 0.6)
    assert [entry.aliases for entry in judge_candidates([first, first], "pico").promoted] == [("champion",)]
    second = build(1, gate=GATE)
    assert (second.aliases, find_entry("pico.front@champion").version) == (("candidate",), 1)


def test_a_refused_candidate_is_reported_and_judged_again_by_the_next_bench(
    build: Callable[..., Entry], measure: Callable[..., None]
) -> None:
    measure(build(0, gate=GATE), 0.6)
    judge_candidates([find_entry("pico.front:1")], "pico")
    measure(second := build(1, gate=GATE), 0.55)
    judged = judge_candidates([second], "pico")
    with pytest.raises(GateRefusedError, match=r"pico.front:2 is refused, pico.front:1 stays the champion: 1x8: "):
        judged.raise_if_refused()
    assert find_entry("pico.front@champion").version == 1
    measure(build(1, gate=GATE), 0.7)
    assert [entry.version for entry in judge_candidates([second], "pico").promoted] == [2]


def test_what_was_rolled_back_is_neither_champion_nor_candidate_again(
    build: Callable[..., Entry], measure: Callable[..., None]
) -> None:
    for seed, accuracy in ((0, 0.6), (1, 0.7)):
        measure(entry := build(seed, gate=GATE), accuracy)
        judge_candidates([entry], "pico")
    rollback("pico.front")
    assert build(1, gate=GATE).aliases == ()
    assert judge_candidates([find_entry("pico.front:2")], "pico").promoted == []


@pytest.mark.parametrize(("gate", "alias"), [(None, "champion"), (GATE, "candidate")])
def test_a_version_that_a_kill_left_without_an_alias_gets_it_from_the_next_run(
    build: Callable[..., Entry], learngene: MakeLearngene, gate: dict[str, Any] | None, alias: str
) -> None:
    set_alias("pico.front", "champion", register(learngene(0), "pico.front", metrics={}).version)
    assert register(learngene(1), "pico.front", metrics={}).aliases == ()
    assert build(1, gate=gate).aliases == (alias,)
    assert [event.record.action for event in history("pico.front")] == ["set", "propose" if gate else "set"]
