"""The comparison itself: what is trained, chosen and divided; at the size of a toy."""

from pathlib import Path

import pytest

from benchmarks import minilm_sst2
from benchmarks.minilm_sst2 import Case, Result, markdown, measure, rows
from trainers.data.tokenizer import train_tokenizer
from zoo import Checkpoint, save_checkpoint
from zoo.families import architecture
from zoo.methods.random import random_start
from zoo.size import Size

CASE = Case(3, 32, 32, (1e-9, 1e-2), (0, 1))
RESULTS = [
    Result(CASE, "scratch", 1e-2, 0.5, (0.5, 0.7)),
    Result(CASE, "FRONT", 1e-9, 0.9, (0.8, 0.8)),
]


def test_a_start_is_judged_by_its_mean_error_beside_that_of_scratch() -> None:
    (row,) = rows(RESULTS)
    assert row.name == "minilm_sst2.dev_error.3x32.FRONT"
    assert (row.ours, row.baseline, row.ratio) == pytest.approx((20, 40, 0.5))
    assert row.ok


def test_the_table_shows_mean_spread_and_ratio() -> None:
    *_, scratch, front = markdown(RESULTS, "a machine; seed 0").splitlines()
    assert scratch == "| 3 x 32 | scratch | 32 | 2 | 0.01 | 60.0% (50.0% to 70.0%) | 1 |"
    assert front == "| 3 x 32 | FRONT | 32 | 2 | 1e-09 | 80.0% (80.0% to 80.0%) | 0.50 |"


def test_every_start_is_trained_and_scored_on_dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny ancestor, and sentences whose class hangs on a word."""
    lines = [f"a {('bad', 'good')[i % 2]} film of the year {i}" for i in range(64)]
    for part, chosen in (("train", lines[:48]), ("dev", lines[48:])):
        text = "".join(f"{line}\t{int('good' in line)}\n" for line in chosen)
        (tmp_path / f"{part}.tsv").write_text(text, encoding="utf-8")
    arch = architecture("bert", {"task": "none", "vocab_size": 270, "max_length": 32}, Size(depth=2, width=16, heads=1))
    tokenizer = train_tokenizer(lines, vocab=270, framed=True)
    weights = arch.unstack(random_start(arch, seed=0))
    save_checkpoint(tmp_path / "ancestor", Checkpoint(arch, weights, tokenizer=tokenizer), origin="")
    monkeypatch.setattr(minilm_sst2, "SENTENCES", tmp_path)
    monkeypatch.setattr(minilm_sst2, "TABLE", tmp_path / "table.md")
    monkeypatch.setattr(minilm_sst2, "CASES", (CASE,))
    monkeypatch.setattr(minilm_sst2, "EPOCHS", 1)
    monkeypatch.setattr(minilm_sst2, "BATCH", 8)
    monkeypatch.setattr(minilm_sst2, "ancestor_folder", lambda: tmp_path / "ancestor")
    measured = measure()
    assert [row.name.rpartition(".")[2] for row in measured] == [s for s in minilm_sst2.STARTS if s != "scratch"]
    assert all(0 <= row.ours <= 100 for row in measured)
    table = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert [line.split(" | ")[1] for line in table.splitlines()[-len(minilm_sst2.STARTS) :]] == [*minilm_sst2.STARTS]
    assert "| 32 | 2 |" in table
