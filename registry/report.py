"""The files of bench reports that stand with an entry."""

import os
import shutil
import tempfile
from pathlib import Path

from registry.entries import Entry
from registry.server import connect


def fetch_report(entry: Entry, bench: str, names: tuple[str, ...], folder: Path) -> list[Path]:
    """Copy those of the files `names` that the newest report of `bench` has into `folder`, as `BENCH-NAME`."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    found: list[Path] = []
    with connect() as client, tempfile.TemporaryDirectory() as aside:
        run_id = client.get_model_version(entry.name, str(entry.version)).run_id
        assert run_id, entry.ref
        there = {file.path for file in client.list_artifacts(run_id, f"bench/{bench}")}
        for name in names:
            if f"bench/{bench}/{name}" in there:
                copy = client.download_artifacts(run_id, f"bench/{bench}/{name}", aside)
                found.append(Path(shutil.copyfile(copy, folder / f"{bench}-{name}")))
    return found
