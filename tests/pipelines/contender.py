"""A run that wants one stage: told by lines on stdin what to do while it holds the lease, it says what it came to."""

import sys
from pathlib import Path

from pipelines.artifacts.lease import LeaseLostError
from pipelines.artifacts.store import Store

KEY = "0" * 64
DESCRIPTION = {"function": "condense/1", "config": {}, "inputs": {}}


def say(text: str) -> None:
    print(text, flush=True)


def checkpoints(work: Path) -> list[str]:
    return sorted(path.name for path in (work / "checkpoints").glob("step-*"))


def main(root: str, ttl: str, name: str) -> None:
    say("ready")
    sys.stdin.readline()
    store, made = Store(Path(root), float(ttl)), False
    with store.lease(KEY, lambda holder: say(f"waits for {holder}"), lambda: False) as place:
        if place:
            say(f"holds {place.lease.token} {','.join(checkpoints(place.work))}")
            for line in sys.stdin:
                if line.startswith("step-"):
                    folder = place.work / "checkpoints" / line.strip()
                    folder.mkdir(parents=True)
                    (folder / "state").write_text(name)
                    say("saved")
                else:
                    (place.work / "output").mkdir(parents=True)
                    (place.work / "output/name").write_text(name)
                    store.commit(place, "front", DESCRIPTION, {}, 0.0)
                    made = True
                    break
    say("made" if made else "took")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except LeaseLostError as error:
        say(f"lost: {error}")
