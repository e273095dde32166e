"""`kill -9` of the driver in the middle of a training; then the same command."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from command_line import RECIPE, Zoo

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
DEADLINE = 240
STEPS = 120


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Only the stage of two workers with DeepSpeed, and long enough to be killed in its middle."""
    content = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    weit = content["stages"]["weit"]
    weit["train"]["steps"] = STEPS
    path = tmp_path / "weit.yaml"
    path.write_text(yaml.safe_dump(content | {"stages": {"weit": weit}, "register": {}}), encoding="utf-8")
    return path


def test_a_killed_driver_goes_on_from_the_last_checkpoint_to_the_same_end(zoo: Zoo, recipe: Path) -> None:
    undisturbed = Zoo(zoo.home.with_name("undisturbed"), zoo.extensions)
    (whole,) = undisturbed.process("run", recipe, "--json").json["stages"]

    driver = subprocess.Popen(
        zoo.command("run", recipe), env=zoo.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    folder = zoo.home / "store/work" / whole["key"]
    deadline = time.monotonic() + DEADLINE
    while not list(folder.glob("*/checkpoints/step-*")):  # poll: the first checkpoint is the moment to strike
        assert driver.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    (at,) = zoo("plan", recipe, "--json").json
    assert at["state"] == "waiting"
    assert 0 < at["step"] < STEPS

    (resumed,) = zoo.process("run", recipe, "--json").json["stages"]
    assert resumed["state"] == "done"
    assert resumed["scores"] == whole["scores"]  # gloo on two workers sums in a fixed order: nothing may differ
    metrics = [
        [json.loads(line) for line in (home / "store/stages" / whole["key"] / "metrics.jsonl").read_text().splitlines()]
        for home in (undisturbed.home, zoo.home)
    ]
    assert metrics[0] == metrics[1]
    assert not (zoo.home / "store/work" / whole["key"]).exists()
