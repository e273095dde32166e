"""Whatever dies, the recipe ends with the learngenes of an undisturbed run, registered once, and leaves nothing.

Here the faults that a cluster sees every week; `python -m benchmarks.faults` strikes with all nine.
"""

import pytest

from benchmarks.faults.bench import Baseline, strike
from benchmarks.faults.scenarios import FAULTS, Fault

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
WEEKLY = "acfh"
OUTAGE = 10


def test_two_workers_are_on_two_hosts(baseline: Baseline) -> None:
    assert len(baseline.hosts) == 2


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.name in WEEKLY], ids=lambda fault: fault.name)
def test_a_fault_changes_nothing(fault: Fault, baseline: Baseline) -> None:
    assert strike(fault, baseline, OUTAGE).why == ""
