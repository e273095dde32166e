"""A home for the tests of a file, and one in which a recipe has been run."""

from pathlib import Path
from uuid import uuid4

import pytest
from command_line import RECIPE, Zoo


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory, torch_extensions: Path) -> Zoo:
    """One home for a module."""
    return Zoo(tmp_path_factory.getbasetemp() / f"home-{uuid4().hex[:8]}", torch_extensions)


@pytest.fixture(scope="module")
def built(zoo: Zoo) -> Zoo:
    """A home in which the pico recipe has been run."""
    answer = zoo.process("run", RECIPE)
    assert answer.code == 0, answer.err
    return zoo
