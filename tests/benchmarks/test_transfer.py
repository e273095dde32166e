"""`python -m benchmarks.transfer`: what it refuses, and how it says so."""

import sys
from pathlib import Path

import pytest

from benchmarks.transfer.__main__ import main

RECIPE = """\
name: pico
family: mlp
config: {img_size: 8, in_chans: 1, num_classes: 10}
data: {kind: digits}
stages:
  narrow: {run: pretrain, size: {depth: 2, width: 16}, train: {steps: 2}}
"""


@pytest.mark.parametrize(
    ("name", "code", "message"), [("pico", 2, "stages.base: missing"), ("none", 3, "no such recipe")]
)
def test_a_recipe_that_does_not_fit_is_refused_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    code: int,
    message: str,
) -> None:
    (tmp_path / "pico.yaml").write_text(RECIPE, encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["transfer", str(tmp_path / f"{name}.yaml"), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == code
    assert message in capsys.readouterr().err
