"""Run the short benchmarks, each in a process of its own so that neither memory nor threads leak into the next one."""

import json
import subprocess
import sys

from benchmarks.rows import Row, main

SCRIPTS = ("constrained_step", "core", "coordinate_check")
BY_THEMSELVES = ("overhead", "pull_job")
"""Scripts of minutes that want the machine for themselves: `python -m benchmarks.NAME`."""


def run_all() -> list[Row]:
    """The rows of all scripts; what they have to say meanwhile goes to stderr."""
    return [row for script in SCRIPTS for row in run_one(script)]


def run_one(script: str) -> list[Row]:
    """The rows of one script. A script that breaks ends the whole run with its error."""
    command = [sys.executable, "-m", f"benchmarks.{script}", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if not done.stdout:  # a missed target also exits with 1, but after printing its rows
        sys.exit(f"benchmarks.{script} broke with exit code {done.returncode}; its error is above")
    return [Row(**row) for row in json.loads(done.stdout)]


if __name__ == "__main__":
    main(run_all, __doc__)
