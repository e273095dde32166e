"""Promotion: through gates, one at a time, with a log that says what happened, and back in one step."""

import json
import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from registry_races import aliases, eight_promoters

from pipelines.recipe.gate_file import load_gate
from registry.entries import Entry, list_entries
from registry.gate import Gate, judge, parse_gate
from registry.history import me
from registry.promote import history, promote, rollback, set_alias
from registry.register import log_evidence, register
from registry.server import connect
from zoo.errors import BadInputError, GateRefusedError, NotFoundError

MakeLearngene = Callable[..., Path]
GATE = Gate(bench="b", metric="accuracy", sizes=("1x8", "2x8"), gain=0.01, worse=0.02)
pytestmark = pytest.mark.usefixtures("ready_home")


@pytest.fixture
def scored(learngene: MakeLearngene, tmp_path: Path) -> Callable[..., Entry]:
    """Registers the next version of `vit`, with a score at each size."""
    (tmp_path / "report").mkdir()

    def make(seed: int, *scores: float, tags: dict[str, str] | None = None, metric: str = "accuracy") -> Entry:
        entry = register(learngene(seed), "vit", metrics={}, tags=tags)
        names = ("1x8", "2x8", "3x8")
        numbers = {f"bench/b/front/{size}/{metric}": score for size, score in zip(names, scores, strict=False)}
        return log_evidence(entry, numbers, tmp_path / "report", "bench/b")

    return make


def story(name: str = "vit") -> list[tuple[int | None, int, str]]:
    return [(event.record.before, event.record.to, event.outcome) for event in history(name)]


def test_champions_follow_each_other_and_rollbacks_go_back_one_by_one(learngene: MakeLearngene) -> None:
    for seed in range(3):
        register(learngene(seed), "vit", metrics={})
        assert promote(f"vit:{seed + 1}", reason=f"try {seed}").aliases == ("champion",)
    assert aliases() == {"champion": 3, "previous": 2}
    assert rollback("vit", "broken").ref == "vit:2"
    assert aliases() == {"champion": 2, "previous": 1}
    assert rollback("vit").ref == "vit:1"
    assert aliases() == {"champion": 1}
    with pytest.raises(NotFoundError, match="no champion before this one"):
        rollback("vit")
    assert story() == [(None, 1, "done"), (1, 2, "done"), (2, 3, "done"), (3, 2, "done"), (2, 1, "done")]
    event = history("vit")[3]
    assert (event.record.action, event.record.reason, "@" in event.record.who) == ("rollback", "broken", True)
    assert [event.number for event in history("vit")] == [1, 2, 3, 4, 5]


def test_a_gate_refuses_a_size_that_is_worse_and_the_champion_stays(scored: Callable[..., Entry]) -> None:
    scored(1, 0.5, 0.5)
    scored(2, 0.9, 0.4)
    promote("vit:1", GATE)
    with pytest.raises(GateRefusedError) as caught:
        promote("vit:2", GATE)
    assert str(caught.value) == (
        "vit:2 is refused, vit:1 stays the champion: "
        "2x8: accuracy 0.4 is worse than the champion's 0.5 by more than 0.02"
    )
    assert caught.value.exit_code == 5
    assert aliases() == {"champion": 1, "candidate": 2}
    assert story()[-1] == (1, 2, "refused")
    (verdict,) = history("vit")[-1].record.verdicts
    assert [(row.size, row.score, row.champion, row.fails is None) for row in verdict.rows] == [
        ("1x8", 0.9, 0.5, True),
        ("2x8", 0.4, 0.5, False),
        ("mean", 0.65, 0.5, True),
    ]


def test_a_candidate_that_is_promoted_is_a_candidate_no_more(scored: Callable[..., Entry]) -> None:
    scored(1, 0.5, 0.5)
    scored(2, 0.4, 0.4)
    promote("vit:1")
    with pytest.raises(GateRefusedError):
        promote("vit:2", GATE)
    assert promote("vit@candidate").aliases == ("champion",)
    assert aliases() == {"champion": 2, "previous": 1}


@pytest.mark.parametrize(
    ("scores", "gate", "fails"),
    [
        ((0.52, 0.52), {}, None),
        ((0.48, 0.6), {}, None),  # worse by just what is allowed
        ((0.51, 0.51), {}, None),  # better by just what is asked for
        ((0.505, 0.505), {}, "mean: accuracy 0.505 against the champion's 0.5, asked for is a gain of 0.01"),
        ((0.6,), {}, "2x8: accuracy was not measured in bench 'b'"),
        ((0.6, 0.6), {"bench": "c"}, "1x8: accuracy was not measured in bench 'c'"),
        ((0.6, 0.6), {"start": "other"}, "1x8: accuracy was not measured"),
        ((0.6, 0.6), {"least": 0.7}, "1x8: accuracy 0.6, asked for is 0.7"),
        ((0.6, 0.6, 0.6), {"sizes": ("3x8",)}, "3x8: accuracy of the champion vit:1 was not measured in bench 'b'"),
    ],
)
def test_what_fails_is_said(
    scored: Callable[..., Entry], scores: tuple[float, ...], gate: dict[str, Any], fails: str | None
) -> None:
    champion, candidate = scored(1, 0.5, 0.5), scored(2, *scores)
    failed = judge(GATE.model_copy(update=gate), candidate, champion).failed
    assert (f"{failed[0].size}: {failed[0].fails}"[: len(fails)] == fails) if fails else failed == ()


def test_of_a_loss_the_lower_is_better(scored: Callable[..., Entry]) -> None:
    champion, candidate = scored(1, 2.0, 2.0, metric="eval_loss"), scored(2, 1.0, 2.5, metric="eval_loss")
    gate = GATE.model_copy(update={"metric": "eval_loss"})
    (row,) = judge(gate, candidate, champion).failed
    assert row.fails == "eval_loss 2.5 is worse than the champion's 2 by more than 0.02"
    assert judge(gate, champion, candidate).failed[0].size == "1x8"


def test_the_first_champion_has_only_the_least_scores_to_reach(scored: Callable[..., Entry]) -> None:
    entry = scored(1, 0.5, 0.5)
    assert judge(GATE, entry, None).failed == ()
    assert [row.size for row in judge(GATE.model_copy(update={"least": 0.9}), entry, None).failed] == ["1x8", "2x8"]


def test_the_gate_of_the_recipe_is_always_asked(scored: Callable[..., Entry]) -> None:
    scored(1, 0.5, 0.5)
    scored(2, 0.4, 0.4, tags={"gate": GATE.text})
    promote("vit:1")
    with pytest.raises(GateRefusedError, match="vit:2 is refused, vit:1 stays the champion: the recipe's gate: 1x8"):
        promote("vit:2", Gate(bench="b", metric="accuracy", sizes=("1x8",), worse=1.0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sizes": ["8"]}, "gate.sizes.0: '8'"),
        ({"sizes": []}, "gate.sizes: "),
        ({"sizes": ["1x8", "1x8"]}, "stands there twice"),
        ({"gain": -1}, "gate.gain: -1"),
        ({"worse": float("nan")}, "gate.worse: nan"),
        ({"mean": 1}, "gate.mean: 1: .*; fields: bench, metric, sizes"),
    ],
)
def test_a_gate_that_is_not_legal_is_refused_by_field(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        parse_gate({"bench": "b", "metric": "accuracy", "sizes": ["1x8"], **change}, "here")


def test_a_gate_keeps_its_meaning_as_a_tag_and_as_a_file(tmp_path: Path) -> None:
    path = tmp_path / "gate.yaml"
    path.write_text(yaml.safe_dump(json.loads(GATE.text)))
    assert load_gate(path) == GATE
    assert parse_gate(json.loads(GATE.text), "here") == GATE


def test_a_gate_file_is_refused_with_all_its_mistakes_and_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "gate.yaml"
    path.write_text("bench: b\nmetric: accuracy\nsizes: [8]\ngain: -1\nmean: 1\n")
    with pytest.raises(BadInputError) as error:
        load_gate(path)
    lines = str(error.value).splitlines()
    assert [line.removeprefix(f"{path}:").split(":")[:2] for line in lines] == [
        ["3", " sizes.0"],
        ["4", " gain"],
        ["5", " mean"],
    ]
    assert "legal fields: bench, metric" in lines[-1]
    with pytest.raises(NotFoundError, match="no such gate"):
        load_gate(tmp_path / "absent.yaml")


def test_of_two_gates_the_history_says_which_one_refused(scored: Callable[..., Entry]) -> None:
    own = GATE.model_copy(update={"sizes": ("1x8",), "least": 0.1})
    scored(1, 0.5, 0.5, tags={"gate": own.text})
    with pytest.raises(GateRefusedError, match=r"no champion yet: --gate: 2x8: accuracy 0\.5, asked for is 0\.9"):
        promote("vit:1", GATE.model_copy(update={"sizes": ("2x8",), "least": 0.9}))
    assert history("vit")[0].record.failures == ["--gate: 2x8: accuracy 0.5, asked for is 0.9"]


def test_who_promoted_has_a_name_where_no_variable_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("MLFLOW_TRACKING_USERNAME", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    assert me().split("@")[0] == pwd.getpwuid(os.getuid()).pw_name


def test_what_makes_no_sense_is_refused(learngene: MakeLearngene) -> None:
    register(learngene(), "vit", metrics={})
    promote("vit:1")
    with pytest.raises(BadInputError, match="vit:1 is the champion already"):
        promote("vit:1")
    with pytest.raises(BadInputError, match="'vit' names no version"):
        promote("vit")
    with pytest.raises(NotFoundError, match="has no version 7"):
        promote("vit:7")
    with pytest.raises(BadInputError, match="alias 'previous' is not legal; it follows from the history"):
        set_alias("vit", "previous", 1)
    with pytest.raises(NotFoundError):
        history("absent")
    assert story() == [(None, 1, "done")]


def test_histories_are_no_learngenes(learngene: MakeLearngene, caplog: pytest.LogCaptureFixture) -> None:
    register(learngene(), "vit", metrics={})
    promote("vit:1")
    assert [entry.ref for entry in list_entries()] == ["vit:1"]
    assert caplog.text == ""


def test_a_name_that_has_champions_but_no_history_goes_on_from_there(learngene: MakeLearngene) -> None:
    for seed in range(3):
        register(learngene(seed), "vit", metrics={})
    with connect() as client:
        client.set_registered_model_alias("vit", "champion", "1")
    promote("vit:3")
    assert aliases() == {"champion": 3, "previous": 1}
    assert rollback("vit").ref == "vit:1"


def one_of_three(learngene: MakeLearngene) -> type:
    """Register three versions and promote the first; what talks to MLflow, to be disturbed."""
    for seed in range(3):
        register(learngene(seed), "vit", metrics={})
    promote("vit:1")
    with connect() as client:
        return type(client)


@pytest.mark.parametrize("step", ["create_model_version", "set_registered_model_alias", "update_registered_model"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_promoter_that_is_killed_is_completed_by_the_next_command(
    learngene: MakeLearngene, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    client_class = one_of_three(learngene)
    real = getattr(client_class, step)

    def dies(*args: Any, **kwargs: Any) -> None:
        if when == "after":
            real(*args, **kwargs)
        raise SystemExit  # nothing of ours catches it, as nothing catches a kill

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(client_class, step, dies)
        promote("vit:2")
    if (step, when) == ("create_model_version", "before"):
        assert story() == [(None, 1, "done")]
        return
    assert story() == [(None, 1, "done"), (1, 2, "done")]
    with pytest.raises(BadInputError, match="vit:2 is the champion already"):
        promote("vit:2")
    assert aliases() == {"champion": 2, "previous": 1}


def test_a_slow_promoter_does_not_undo_a_later_choice(
    learngene: MakeLearngene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It wrote its record, then slept; another one promoted meanwhile; it wakes and sets its alias."""
    client_class = one_of_three(learngene)
    real = client_class.set_registered_model_alias

    def late(self: Any, name: str, alias: str, version: str) -> None:
        monkeypatch.setattr(client_class, "set_registered_model_alias", real)
        promote("vit:3")
        real(self, name, alias, version)

    monkeypatch.setattr(client_class, "set_registered_model_alias", late)
    promote("vit:2")
    assert story()[1:] == [(1, 2, "done"), (2, 3, "done")]
    assert aliases() == {"champion": 3, "previous": 2}


def test_an_alias_that_was_moved_by_hand_is_put_back(learngene: MakeLearngene) -> None:
    for seed in range(2):
        register(learngene(seed), "vit", metrics={})
    promote("vit:1")
    with connect() as client:
        client.set_registered_model_alias("vit", "champion", "2")
    promote("vit:2")
    assert rollback("vit").ref == "vit:1"


def test_a_champion_that_is_deleted_is_no_obstacle(learngene: MakeLearngene) -> None:
    for seed in range(3):
        register(learngene(seed), "vit", metrics={})
        promote(f"vit:{seed + 1}")
    with connect() as client:
        client.delete_model_version("vit", "2")
    with pytest.raises(NotFoundError, match="vit:2: 'vit' has no version 2; it has 1, 3"):
        rollback("vit")
    promote("vit:1")
    assert aliases() == {"champion": 1, "previous": 3}


@pytest.mark.slow
def test_of_eight_promoters_at_once_one_wins_and_the_others_are_told(
    ready_home: Path, learngene: MakeLearngene
) -> None:
    eight_promoters(ready_home, None, learngene)
