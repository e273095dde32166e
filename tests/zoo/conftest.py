"""The core's tests are many and tiny: one thread each."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def tiny(one_thread: None) -> None:
    """For all of them."""
