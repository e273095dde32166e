"""A cluster of several hosts for all tests of a module, where this machine permits one."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.faults.bench import Baseline, undisturbed
from benchmarks.faults.cluster import cluster, why_not
from benchmarks.faults.hosts import why_not as no_hosts


def need(reason: str | None) -> None:
    """Skip where something is missing; fail where somebody wants to know that nothing is."""
    if reason:
        pytest.fail(reason) if os.environ.get("ZOO_HOSTS") == "required" else pytest.skip(reason)


@pytest.fixture(scope="session")
def namespaces() -> None:
    """For tests that make hosts."""
    need(no_hosts())


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory, torch_extensions: Path) -> Iterator[Baseline]:
    """A run that nobody disturbed, on a cluster that others may disturb."""
    need(why_not())
    with cluster(torch_extensions, tmp_path_factory.mktemp("logs")) as running:
        yield undisturbed(running)
