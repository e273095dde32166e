"""What the registry holds of a run, as JSON: started on a host of the cluster, the only place that reaches it."""

import json
import sys
from collections import Counter

from registry.entries import list_entries
from registry.server import connect
from registry.shelf import EXPERIMENT


def audit(prefix: str) -> dict[str, object]:
    """Versions of the names that begin with `prefix`, the states of their runs, and points that a curve has twice."""
    entries = [entry for entry in list_entries() if entry.name.startswith(f"{prefix}.")]
    with connect() as client:
        experiment = client.get_experiment_by_name(EXPERIMENT)
        assert experiment
        named = f"tags.`learngene.name` LIKE '{prefix}.%'"
        runs = client.search_runs([experiment.experiment_id], named)
        twice = 0
        for run in runs:
            for key in run.data.metrics:
                steps = Counter(point.step for point in client.get_metric_history(run.info.run_id, key))
                twice += sum(number - 1 for number in steps.values())
    return {
        "versions": sorted(entry.ref for entry in entries),
        "champions": sorted(entry.ref for entry in entries if "champion" in entry.aliases),
        "runs": sorted(run.info.status for run in runs),
        "points_twice": twice,
    }


if __name__ == "__main__":
    print(json.dumps(audit(sys.argv[1])))
