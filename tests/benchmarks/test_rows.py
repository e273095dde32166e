"""The shared form of all benchmarks: rows, their JSON, exit codes."""

import json
import re
from collections.abc import Iterator

import pytest
import torch

from benchmarks.__main__ import BY_THEMSELVES, SCRIPTS, run_one
from benchmarks.rows import Row, at_most, main

GOOD = at_most(1.1, name="good", ours=2.2, baseline=2.0, unit="ms")
BAD = at_most(1.1, name="bad", ours=3.0, baseline=2.0, unit="ms")


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    """A benchmark owns its process and sets its threads; tests share theirs."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def run(rows: list[Row], monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    """Run `main` as a script would; its exit code."""

    def benchmark() -> list[Row]:
        print("a library chats")
        return rows

    monkeypatch.setattr("sys.argv", ["benchmark", *options])
    with pytest.raises(SystemExit) as exit_:
        main(benchmark, "a benchmark")
    assert isinstance(exit_.value.code, int)
    return exit_.value.code


def test_json_holds_the_seven_fields_and_stdout_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What libraries print goes to stderr, and so does the header."""
    assert run([GOOD], monkeypatch, "--json") == 0
    out, err = capsys.readouterr()
    fields = {"name": "good", "ours": 2.2, "baseline": 2.0, "ratio": 1.1, "target": 1.1, "ok": True, "unit": "ms"}
    assert json.loads(out) == [fields]
    assert "a library chats" in err
    assert "seed 0" in err


def test_a_missed_target_is_exit_code_1_after_all_rows_were_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """People notice in CI, and still see every number."""
    assert run([BAD, GOOD], monkeypatch, "--json") == 1
    assert [row["ok"] for row in json.loads(capsys.readouterr().out)] == [False, True]


def test_the_table_shows_every_row_with_the_header_as_caption(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without `--json` the same rows are for people."""
    assert run([BAD, GOOD], monkeypatch) == 1
    out = capsys.readouterr().out
    assert all(text in out for text in ("good", "bad", "1.500", "seed 0"))


def test_a_ratio_measured_pair_by_pair_decides() -> None:
    """Medians of noisy times may disagree with the median of their ratios."""
    row = at_most(1.1, name="noisy", ours=3.0, baseline=2.0, unit="ms", ratio=1.05)
    assert (row.ratio, row.ok) == (1.05, True)


def test_a_script_that_breaks_ends_the_run() -> None:
    """No rows is an error, never an empty success."""
    with pytest.raises(SystemExit, match=r"benchmarks\.rowz broke"):
        run_one("rowz")


def test_every_script_is_listed() -> None:
    """A new file in `benchmarks/` that measures must be in one of the lists."""
    from pathlib import Path

    import benchmarks

    assert benchmarks.__file__
    folder = Path(benchmarks.__file__).parent
    texts = {path.stem: path.read_text(encoding="utf-8") for path in folder.glob("[!_]*.py")}
    measuring = {name for name, text in texts.items() if re.search(r"benchmarks\.rows import .*\bmain\b", text)}
    assert measuring == {*SCRIPTS, *BY_THEMSELVES}
