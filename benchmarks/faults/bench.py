"""A fault, what came of it, and whether that is what an undisturbed run gives."""

from dataclasses import dataclass

from benchmarks.faults.cluster import Cluster
from benchmarks.faults.run import Run
from benchmarks.faults.scenarios import Fault


@dataclass(frozen=True)
class Outcome:
    """One row of the table; `why` is empty where the fault was survived. Times in seconds."""

    fault: Fault
    seconds: float
    lost: float
    difference: float
    why: str

    @property
    def survived(self) -> bool:
        """Whether everything is as if nothing had happened."""
        return not self.why


@dataclass(frozen=True)
class Baseline:
    """A run that was left alone, its seconds, and the hosts on which its workers were."""

    run: Run
    seconds: float
    hosts: frozenset[str]


def undisturbed(cluster: Cluster) -> Baseline:
    """Leave a run alone. Raises `AssertionError` where it does not end well."""
    run = Run(cluster, "undisturbed")
    driver = run.start()
    run.reach(1, driver)
    hosts = frozenset(host.name for host, _ in run.workers())
    seconds = run.finish(driver)
    assert not (wrong := complaints(run, run, 0.0)), wrong
    return Baseline(run, seconds, hosts)


def strike(fault: Fault, baseline: Baseline, outage: float) -> Outcome:
    """Let a fault strike a new run; the cluster is whole again afterwards."""
    reference = baseline.run
    run = Run(reference.cluster, f"fault-{fault.name}")
    try:
        seconds = run.finish(*fault.strike(run, outage))
        wrong = complaints(run, reference, fault.tolerance)
        return Outcome(fault, seconds, seconds - baseline.seconds, difference(run, reference), "; ".join(wrong))
    except AssertionError as error:
        return Outcome(fault, float("nan"), float("nan"), float("nan"), str(error))
    finally:
        run.end()
        run.cluster.heal()


def complaints(run: Run, reference: Run, tolerance: float) -> list[str]:
    """All that is wrong after a run; nothing when it is as good as the undisturbed `reference`."""
    wrong = []
    if (worst := difference(run, reference)) > tolerance:
        wrong.append(f"learngenes differ by {worst:.1e}, allowed {tolerance:.0e}")
    steps = [[row["step"] for row in one.curve()] for one in (run, reference)]
    if steps[0] != steps[1]:
        wrong.append(f"metrics at steps {steps[0]}, undisturbed {steps[1]}")
    refs = sorted(f"{run.name}.{stage}:1" for stage in ("weit", "front"))
    wanted = {"versions": refs, "champions": refs, "runs": ["FINISHED"] * 2, "points_twice": 0}
    found = run.registered()
    wrong += [f"registry: {key} {found[key]}, not {value}" for key, value in wanted.items() if found[key] != value]
    if left := run.left_over():
        wrong.append(f"left over in the store: {', '.join(left)}")
    return wrong


def difference(run: Run, reference: Run) -> float:
    """The largest difference of the learngenes' numbers, relative to the largest of their tensor."""
    ours, theirs = run.learngenes(), reference.learngenes()
    assert ours.keys() == theirs.keys(), f"tensors {sorted(ours)}, undisturbed {sorted(theirs)}"
    return max(float((ours[key] - theirs[key]).abs().max() / theirs[key].abs().max()) for key in ours)
