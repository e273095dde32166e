"""The verbs of the registry: what people type, the answers as tables and as JSON, and the exit codes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines import cli
from pipelines.show import answers
from registry.entries import find_entry
from registry.register import log_evidence, register

MakeLearngene = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]
pytestmark = pytest.mark.usefixtures("ready_home")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line; its exit code, stdout and stderr."""

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["zoo", *words])
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capsys.readouterr()
        return int(end.value.code or 0), said.out, said.err

    return call


@pytest.fixture
def two_versions(learngene: MakeLearngene, tmp_path: Path) -> None:
    """`vit:1` is better than `vit:2`, in one bench."""
    (tmp_path / "report").mkdir()
    for seed, score in ((1, 0.6), (2, 0.5)):
        entry = register(learngene(seed), "vit", metrics={}, tags={"recipe": "vit-digits"})
        place = "bench/vit-digits/front/1x8"
        numbers = {f"{place}/accuracy": score, f"{place}/speed_up": 10 * score, f"{place}/scratch": 0.4}
        log_evidence(entry, numbers, tmp_path / "report", "bench/vit-digits")


@pytest.fixture
def gate(tmp_path: Path) -> str:
    path = tmp_path / "gate.yaml"
    path.write_text(yaml.safe_dump({"bench": "vit-digits", "metric": "accuracy", "sizes": ["1x8"]}))
    return str(path)


def answer(run: Run, *words: str) -> Any:
    code, out, _ = run(*words, "--json")
    assert code == 0
    return json.loads(out)


def test_find_gives_learngene_and_size(two_versions: None, run: Run) -> None:
    question = ("find", "--family", "vit", "--task", "digits", "--max-params", "50K", "--max-flops", "1M")
    found = answer(run, *question, "--limit", "1")
    assert (found["total"], [row["entry"]["version"] for row in found["found"]]) == (2, [1])
    assert 0.9 < found["found"][0]["of_parameters"] <= 1
    code, out, err = run(*question, "--limit", "1")
    assert (code, "vit:1" in out, "page 1 of 2, 2 in all" in err) == (0, True, True)
    code, out, err = run("find", "--family", "bert")  # legal, but nobody registered one
    assert (code, out, "nothing answers this" in err) == (0, "", True)


def test_find_explains_itself(two_versions: None, run: Run) -> None:
    favoured, first, second = answer(run, "find", "--size", "1x8", "--explain")["explain"]
    assert favoured == (
        "vit:1 is favoured over vit:2: speed-up 6.0, accuracy 0.6 (scratch 0.4) at 1x8 in 'vit-digits' as 'front' "
        "against speed-up 5.0, accuracy 0.5 (scratch 0.4) at 1x8 in 'vit-digits' as 'front', in the same bench"
    )
    assert first.endswith("(measured at this very size)")
    (_, first, _) = answer(run, "find", "--size", "2x12", "--explain")["explain"]
    assert first.endswith("(2x12 was not measured; 1x8 is the nearest by parameters)")
    assert second.startswith("vit:2: ")


def test_solve_takes_a_name_or_a_folder(two_versions: None, learngene: MakeLearngene, run: Run) -> None:
    sizes = answer(run, "solve", "vit:1", "--max-params", "50K")
    assert len(sizes) == 5
    assert all(0 < size["parameters"] <= 50_000 for size in sizes)
    assert answer(run, "solve", str(learngene(1)), "--max-params", "50K") == sizes
    code, out, _ = run("solve", "vit:1", "--max-params", "50K", "--limit", "1")
    assert (code, "%" in out) == (0, True)


def test_promotion_goes_through_the_gate_and_back(two_versions: None, run: Run, gate: str) -> None:
    assert answer(run, "promote", "vit:1", "--gate", gate)["aliases"] == ["champion"]
    code, _, err = run("promote", "vit:2", "--gate", gate)
    assert code == 5
    assert "vit:2 is refused, vit:1 stays the champion: 1x8: accuracy 0.5 is worse than the champion's 0.6" in err
    assert answer(run, "promote", "vit:2", "--reason", "for a test")["aliases"] == ["champion"]
    assert answer(run, "rollback", "vit")["version"] == 1
    outcomes = [(event["outcome"], event["record"]["reason"]) for event in answer(run, "history", "vit")]
    assert outcomes == [("done", ""), ("refused", ""), ("done", "for a test"), ("done", "")]
    code, out, _ = run("history", "vit")
    assert (code, "refused" in out) == (0, True)
    assert find_entry("vit").version == 1


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("find", "--max-params", "6 apples"), 2, "--max-params: '6 apples' is not legal"),
        (("find", "--size", "8"), 2, "--size: '8' is not legal; legal is DEPTHxWIDTH"),
        (("find", "--tag", "edge"), 2, "--tag: 'edge' is not legal; legal is KEY=VALUE"),
        (("find", "--order-by", "metric"), 2, "--order-by: 'metric' needs --metric"),
        (("find", "--family", "vti"), 2, "--family: 'vti' is not known; legal values: bert, "),
        (("find", "--method", "wiet"), 2, "--method: 'wiet' is not known; legal values: bot, "),
        (("find", "--page", "9", "--limit", "1"), 2, "--page: 9; the answer has 2"),
        (("promote", "vit:1", "--gate", "absent.yaml"), 3, "absent.yaml: no such gate"),
        (("gc", "--dry-run", "--keep", "absent.yaml"), 3, "--keep: no recipe absent.yaml"),
        (("rollback", "vti"), 3, "no 'vti' in the registry"),
        (("solve", "vit:1"), 2, "give --max-params or --max-flops"),
        (("solve", "vit:1", "--max-params", "10"), 2, "no legal size"),
        (("promote", "vit:9"), 3, "has no version 9"),
        (("rollback", "vit"), 3, "no champion before this one"),
        (("history", "absent"), 3, "no 'absent' in the registry"),
    ],
)
def test_mistakes_are_named(two_versions: None, run: Run, words: tuple[str, ...], code: int, message: str) -> None:
    found, out, err = run(*words)
    assert (found, out) == (code, "")
    assert message in err


def test_what_people_wrote_is_shown_as_they_wrote_it(
    learngene: MakeLearngene, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "_width", 200)
    register(learngene(1), "vit", metrics={}, tags={"note": "[/b] :smile:"})
    run("promote", "vit:1", "--reason", "see [/ticket] and [red]")
    code, out, _ = run("history", "vit")
    assert (code, "see [/ticket] and [red]" in out) == (0, True)
    code, out, _ = run("show", "vit")
    assert (code, "[/b] :smile:" in out) == (0, True)


def test_a_home_with_brackets_is_shown(learngene: MakeLearngene, run: Run, tmp_path: Path, ready_home: Path) -> None:
    home = ready_home.rename(tmp_path / "[red]")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(home))
        patch.setattr(answers, "_width", 400)
        code, out, _ = run("doctor")
        assert (code, f"{home}/store" in out) == (0, True)
        assert run("gc", "--dry-run")[0] == 0


def test_a_check_leaves_stderr_empty_where_nobody_watches(learngene: MakeLearngene, run: Run) -> None:
    assert run("verify", str(learngene(1)))[2] == ""


def test_a_name_without_a_history_says_so(two_versions: None, run: Run) -> None:
    code, out, err = run("history", "vit")
    assert (code, out, "vit has no history" in err) == (0, "", True)
    assert answer(run, "history", "vit") == []
