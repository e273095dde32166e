"""The command line as a user has it: a subprocess, its exit code, its answer."""

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli import main

RECIPE = Path(__file__).parent / "pico.yaml"


@dataclass(frozen=True)
class Answer:
    """What a call of `zoo` gave."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


@dataclass(frozen=True)
class Zoo:
    """Calls `zoo` with a home of its own, as a process, or in this one where starting dozens would take minutes."""

    home: Path
    extensions: Path

    def command(self, *args: str | Path) -> list[str]:
        return [str(Path(sys.executable).parent / "zoo"), *map(str, args)]

    @property
    def environment(self) -> dict[str, str]:
        shared = {"HF_HUB_OFFLINE": "1", "TORCH_EXTENSIONS_DIR": str(self.extensions)}
        return {**os.environ, **shared, "ZOO_HOME": str(self.home)}

    def process(self, *args: str | Path, **environment: str) -> Answer:
        env = {**self.environment, **environment}
        done = subprocess.run(self.command(*args), env=env, capture_output=True, text=True, check=False)
        return Answer(done.returncode, done.stdout, done.stderr)

    def __call__(self, *args: str | Path) -> Answer:
        out, err, code = io.StringIO(), io.StringIO(), 0
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setenv("ZOO_HOME", str(self.home))
            patch.setattr(sys, "argv", ["zoo", *map(str, args)])
            try:
                main()
            except SystemExit as end:
                code = int(end.code or 0)
        return Answer(code, out.getvalue(), err.getvalue())
