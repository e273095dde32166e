"""Finding: the learngenes that answer a question, the sizes that fill the budget, in the order of the evidence."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from registry_races import others_are_seen, refs

import registry
from registry import mirror
from registry.entries import find_entry
from registry.explain import explain
from registry.promote import set_alias
from registry.register import log_evidence, register
from registry.server import connect
from zoo.api import condense
from zoo.checkpoint import Checkpoint
from zoo.errors import BadInputError
from zoo.families import architecture
from zoo.learngene import Learngene
from zoo.methods.selection import Selection
from zoo.size import Size
from zoo.solve import Budget, solve

MakeLearngene = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("ready_home")


@pytest.fixture
def measured(learngene: MakeLearngene, tmp_path: Path) -> Callable[..., str]:
    """Registers a learngene with evidence `{size: speed-up}` of a bench."""
    (tmp_path / "report").mkdir()

    def make(seed: int, name: str, bench: str = "vit-digits", **rows: dict[str, float]) -> str:
        entry = register(learngene(seed), name, metrics={}, tags={"recipe": bench})
        numbers = {
            f"bench/{bench}/front/{size}/{what}": value for size, row in rows.items() for what, value in row.items()
        }
        return log_evidence(entry, numbers, tmp_path / "report", f"bench/{bench}").ref

    return make


def row(speed_up: float, accuracy: float = 0.5) -> dict[str, float]:
    return {"speed_up": speed_up, "accuracy": accuracy, "scratch": 0.4, "reference": 0.6}


def test_an_answer_is_a_learngene_at_the_size_that_fills_the_budget(learngene: MakeLearngene) -> None:
    folder = learngene()
    entry = register(folder, "vit", metrics={})
    loaded = Learngene.load(folder)
    (best, *_) = solve(loaded.source, loaded.manifest.legal, Budget(parameters=50_000, flops=400_000))
    (found,) = registry.find(max_params=50_000, max_flops=400_000).found
    assert found.entry == entry
    assert (found.size, found.parameters, found.flops) == (best.size, best.parameters, best.flops)
    assert (found.of_parameters, found.of_flops) == (best.parameters / 50_000, best.flops / 400_000)


def test_evidence_at_the_nearest_measured_size_orders_the_answers(measured: Callable[..., str]) -> None:
    measured(1, "a", **{"1x8": row(2.0), "4x32": row(9.0)})
    measured(2, "b", **{"1x8": row(3.0), "4x32": row(7.0)})
    register_only = measured(3, "c")
    assert refs(size=(1, 8)) == ["b:1", "a:1", register_only]
    assert refs(size=(4, 32)) == ["a:1", "b:1", register_only]
    found = registry.find(size=(4, 28)).found[0]
    assert (found.entry.ref, found.evidence[0].size, found.exact) == ("a:1", "4x32", False)
    assert registry.find(size=(4, 32)).found[0].exact
    assert refs() == ["a:1", "b:1", register_only]  # without a size the best row counts


def test_only_evidence_of_the_task_and_the_metric_counts(measured: Callable[..., str]) -> None:
    measured(1, "a", "vit-digits", **{"1x8": row(2.0, 0.9)})
    measured(2, "b", "vit-cifar10", **{"1x8": row(3.0, 0.7)})
    measured(3, "c", "gpt2-text", **{"1x8": {"speed_up": 8.0, "eval_loss": 2.0}})
    measured(4, "d", "gpt2-text", **{"1x8": {"speed_up": 7.0, "eval_loss": 1.0}})
    assert refs(task="digits") == ["a:1"]
    assert refs(task="cifar10", max_params=10**5) == ["b:1"]
    assert refs(task="cifar") == []
    assert refs(metric="accuracy", order_by="metric")[:2] == ["a:1", "b:1"]
    assert refs(metric="eval_loss", order_by="metric")[:2] == ["d:1", "c:1"]  # of a loss the lowest


def test_filters_must_all_hold(learngene: MakeLearngene) -> None:
    register(learngene(1), "a", metrics={}, tags={"team": "edge", "task": "digits"})
    register(learngene(2), "a", metrics={}, tags={"team": "edge"})
    register(learngene(3), "b", metrics={})
    set_alias("a", "next", 2)
    assert refs(order_by="newest") == ["b:1", "a:2", "a:1"]
    assert refs(tags={"team": "edge"}, order_by="newest") == ["a:2", "a:1"]
    assert refs(alias="next") == ["a:2"]
    assert refs(task="digits") == ["a:1"]
    assert (len(refs(family="vit", method="front")), refs(family="bert"), refs(method="bot")) == (3, [], [])


def test_a_learngene_that_cannot_give_a_size_in_the_budget_is_left_out(
    learngene: MakeLearngene, tmp_path: Path
) -> None:
    config = {"img_size": 8, "patch_size": 4, "in_chans": 1, "num_classes": 2}
    arch = architecture("vit", config, Size(depth=1, width=8, heads=2, mlp=16))
    weights = dict(arch.build().state_dict())
    condense(Checkpoint(arch, weights), Selection()).save(tmp_path / "small")
    register(tmp_path / "small", "small", metrics={})
    register(learngene(), "any", metrics={})
    assert set(refs(max_params=10**6)) == {"any:1", "small:1"}
    assert refs(size=(2, 16)) == ["any:1"]
    assert refs(size=(2, 16), max_params=100) == []
    assert refs(max_params=100) == []


def test_pages_together_are_the_whole_answer(learngene: MakeLearngene) -> None:
    for seed in range(5):
        register(learngene(seed), "vit", metrics={})
    whole = refs(order_by="newest")
    pages = [registry.find(order_by="newest", limit=2, page=page) for page in (1, 2, 3, 4)]
    assert [[found.entry.ref for found in page.found] for page in pages] == [whole[:2], whole[2:4], whole[4:], []]
    assert {page.total for page in pages} == {5}


def test_a_latency_budget_gives_a_measured_size(learngene: MakeLearngene, one_thread: None) -> None:
    register(learngene(), "vit", metrics={})
    (found,) = registry.find(max_params=30_000, max_latency=60.0).found
    assert found.latency is not None
    assert registry.find(max_params=30_000, max_latency=1e-9).found == ()


def test_versions_of_others_are_skipped_with_a_warning(
    learngene: MakeLearngene, caplog: pytest.LogCaptureFixture
) -> None:
    register(learngene(), "vit", metrics={})
    with connect() as client:
        client.create_registered_model("others")
        client.create_model_version("others", "learngene:/0", await_creation_for=0)
    assert refs() == ["vit:1"]
    assert "skipped 1 model versions that are not learngenes: others:1" in caplog.text


def test_an_entry_of_an_older_version_is_found_but_not_sized(
    learngene: MakeLearngene, caplog: pytest.LogCaptureFixture
) -> None:
    entry = register(learngene(), "vit", metrics={})
    with connect() as client:
        for key in ("config", "size"):
            client.delete_model_version_tag("vit", "1", f"learngene.{key}")
    assert refs() == ["vit:1"]
    assert refs(max_params=10**6) == []
    assert "1 entries do not say what their models count; register them again: vit:1" in caplog.text
    register(learngene(), "vit", metrics={})
    assert refs(max_params=10**6) == [entry.ref]


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"order_by": "metric"}, "`order_by`: 'metric' needs `metric`"),
        ({"order_by": "beauty"}, "`order_by`: 'beauty'"),
        ({"order_by": "fill"}, "'fill' needs a budget"),
        ({"max_latency": 0.1}, "`max_latency` needs `max_params` or `max_flops`"),
        ({"limit": 0}, "`limit`: 0"),
        ({"max_params": -1}, "`max_params`: -1"),
    ],
)
def test_an_illegal_question_is_refused(question: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        registry.find(**question)


@pytest.mark.slow
def test_what_another_process_does_is_in_the_next_answer(ready_home: Path, learngene: MakeLearngene) -> None:
    others_are_seen(ready_home, None, learngene, "vit")


def test_a_mirror_that_is_gone_or_damaged_is_made_again(ready_home: Path, learngene: MakeLearngene) -> None:
    entry = register(learngene(), "vit", metrics={})
    assert refs() == [entry.ref]
    (file,) = (ready_home / "cache" / "registry").iterdir()
    for spoil in (file.unlink, lambda: file.write_bytes(b"no database at all" * 99)):
        spoil()
        fresh = mirror.Mirror(f"sqlite:///{ready_home / 'registry.db'}")
        with mirror.when_needed() as connected:
            fresh.load(connected)
        assert [shelved.entries[0]["digest"] for shelved in fresh.names.values()] == [entry.digest]


def test_a_new_process_goes_on_from_the_file(
    ready_home: Path, learngene: MakeLearngene, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in (1, 2):
        register(learngene(seed), f"vit.{seed}", metrics={})
    refs()
    register(learngene(3), "vit.3", metrics={})
    read: list[Any] = []
    real = mirror.read
    monkeypatch.setattr(mirror, "OVERLAP_MS", 0)
    monkeypatch.setattr(mirror, "read", lambda client, names: read.append(names) or real(client, names))
    fresh = mirror.Mirror(f"sqlite:///{ready_home / 'registry.db'}")
    with mirror.when_needed() as connected:
        fresh.load(connected)
        assert (sorted(fresh.names), read) == (["vit.1", "vit.2"], [])
        assert not fresh.confirm(connected, ["vit.1"])
    assert sorted(fresh.names) == ["vit.1", "vit.2", "vit.3"]
    assert read == [{"vit.3"}]


def test_everything_is_read_again_in_time(
    ready_home: Path, learngene: MakeLearngene, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(learngene(), "vit", metrics={})
    assert refs(tags={"team": "edge"}) == []
    with connect() as client:
        client.set_model_version_tag("vit", "1", "team", "edge")  # sets no stamp
    monkeypatch.setattr(mirror, "SWEEP_SECONDS", 0)
    assert refs(tags={"team": "edge"}) == ["vit:1"]
    assert find_entry("vit").tags == {"team": "edge"}


def test_of_equal_speed_ups_the_better_score_comes_first_and_explain_says_that_they_tie(
    measured: Callable[..., str],
) -> None:
    good, refused = (measured(seed, "a", **{"1x8": row(8.0, score)}) for seed, score in ((1, 0.6), (2, 0.5)))
    set_alias("a", "champion", 1)
    set_alias("a", "candidate", 2)
    assert refs() == [good, refused]
    assert explain(registry.find())[0].startswith("a:1 ties with a:2 and comes first because its score is better: ")
    measured(3, "b", **{"1x8": {"speed_up": 8.0, "eval_loss": 2.0}})
    measured(4, "c", **{"1x8": {"speed_up": 8.0, "eval_loss": 1.0}})
    assert refs(metric="eval_loss")[:2] == ["c:1", "b:1"]


def test_of_equal_evidence_the_champion_comes_first_and_the_candidate_last(measured: Callable[..., str]) -> None:
    for seed in (1, 2, 3):
        measured(seed, "a", **{"1x8": row(8.0)})
    set_alias("a", "champion", 1)
    set_alias("a", "candidate", 3)
    assert refs() == ["a:1", "a:2", "a:3"]
    assert "comes first because it is the champion" in explain(registry.find())[0]


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ({"order_by": "newest"}, "a:2 comes first (the newest); evidence did not order this answer"),
        ({"limit": 1, "page": 2}, "page 2: what evidence favours stands on page 1"),
    ],
)
def test_explain_claims_no_evidence_where_none_decided(
    measured: Callable[..., str], question: dict[str, Any], said: str
) -> None:
    for seed in (1, 2):
        measured(seed, "a", **{"1x8": row(9.0 - seed)})
    assert explain(registry.find(**question))[0] == said


def test_the_evidence_that_is_shown_is_the_evidence_that_orders(measured: Callable[..., str], tmp_path: Path) -> None:
    measured(1, "a", "x", **{"1x8": row(5.0)})
    log_evidence(find_entry("a:1"), {"bench/y/front/1x8/speed_up": 9.0}, tmp_path / "report", "bench/y")
    measured(2, "b", "x", **{"1x8": row(7.0)})
    found = registry.find(size=(1, 8)).found
    assert [(each.entry.ref, each.evidence[0].numbers["speed_up"]) for each in found] == [("a:1", 9.0), ("b:1", 7.0)]
