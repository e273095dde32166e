"""A cluster of several hosts for all tests of a module, where this machine permits one."""

from collections.abc import Iterator

import pytest

from benchmarks.faults.bench import Baseline, undisturbed
from benchmarks.faults.cluster import cluster, why_not


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Baseline]:
    """A run that nobody disturbed, on a cluster that others may disturb."""
    if reason := why_not():
        pytest.skip(reason)
    # Where other tests have DeepSpeed's build too: it takes a minute.
    extensions = tmp_path_factory.getbasetemp() / "torch_extensions"
    with cluster(extensions, tmp_path_factory.mktemp("logs")) as running:
        yield undisturbed(running)
