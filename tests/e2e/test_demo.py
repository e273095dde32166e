"""`zoo demo`: what it writes, and that it is true."""

import json

import pytest
from conftest import Zoo

from zoo import read_checkpoint

pytestmark = pytest.mark.slow


def test_the_demo_shows_every_learngene_ahead_of_scratch_at_every_size(zoo: Zoo) -> None:
    out = zoo.home.with_name("demo")
    answer = zoo.process("demo", "--out", out, "--json")
    rows = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert answer.json == rows
    sizes = {"3x64", "3x96", "6x64", "6x96"}
    starts = {"scratch", "demo.weit", "demo.front"}
    assert {(row["size"], row["start"], row["seed"]) for row in rows} == {
        (size, start, seed) for size in sizes for start in starts for seed in (0, 1, 2)
    }
    scores = {(row["size"], row["start"], row["seed"]): row["score"] for row in rows}
    for (size, start, seed), score in scores.items():
        assert start == "scratch" or score > scores[size, "scratch", seed], (size, start, seed)

    table = (out / "table.md").read_text(encoding="utf-8")
    assert all(f"| {size} |" in table for size in sizes)
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in out.iterdir()} == {"table.md", "results.json", "curves.png", "ready"}
    ready = {path.name: str(read_checkpoint(path).arch.size) for path in (out / "ready").iterdir()}
    assert ready == {size: size for size in sizes}


def test_a_folder_with_other_things_in_it_is_not_overwritten(zoo: Zoo) -> None:
    out = zoo.home.with_name("mine")
    out.mkdir()
    (out / "letter.txt").write_text("keep me", encoding="utf-8")
    answer = zoo("demo", "--out", out)
    assert (answer.code, "letter.txt" in answer.err or str(out) in answer.err) == (2, True)
    assert [path.name for path in out.iterdir()] == ["letter.txt"]
