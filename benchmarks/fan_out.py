"""Two hundred models of one learngene, made by as many tasks on a cluster of three emulated hosts.

It shows that none is lost, that all of them load, and that every node copied the learngene once, into a cache of its
own. Needs what `benchmarks.faults` needs.
"""

import argparse
import json
import os
import struct
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from ctypes import CDLL
from itertools import islice, product
from pathlib import Path
from threading import Thread
from time import monotonic

from benchmarks.faults.cluster import Cluster, cluster, why_not
from benchmarks.faults.hosts import LOCAL, SHARED, STORE
from benchmarks.faults.waiting import until
from zoo.files import home

MODELS, SECONDS = 200, 1800
NAME = "fan-out"
RECIPE = f"""
name: {NAME}
family: vit
config: {{img_size: 8, patch_size: 4, in_chans: 1, num_classes: 10}}
data: {{kind: digits}}
stages:
  ancestor: {{run: pretrain, size: {{depth: 2, width: 16, heads: 2}}, train: {{steps: 20, batch: 48}}}}
  front: {{run: condense, weights: {{stage: ancestor}}, method: {{name: front}}}}
register: {{{NAME}: {{stage: front}}}}
"""
SIZES = [{"depth": depth, "width": 4 * heads, "heads": heads} for depth, heads in product(range(1, 21), range(1, 11))]
PULLED = LOCAL / "cache/learngenes"
IN_MOVED_TO = 0x80
EVENT = struct.Struct("iIII")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fan_out", description=__doc__)
    parser.add_argument("--models", type=int, default=MODELS)
    parser.add_argument("--logs", type=Path, help="folder for what the processes say")
    args = parser.parse_args()
    if reason := why_not():
        sys.exit(f"no hosts here: {reason}")
    with ExitStack() as stack:
        logs = args.logs or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        running = stack.enter_context(cluster(home() / "cache/torch_extensions", logs))
        sys.exit(0 if fan_out(running, args.models) else 1)


def fan_out(running: Cluster, models: int) -> bool:
    """Whether all were made, and no node copied the learngene twice; prints what came out."""
    zoo_home = STORE / NAME
    shared = running.shared / STORE.name / NAME
    shared.mkdir(parents=True)
    (shared / "cache").symlink_to(LOCAL / "cache")  # as pods have it: a cache of their own in a home that they share
    for name in running.nodes:
        running.hosts[name].local("cache").mkdir()
    (shared / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    (shared / "sizes.yaml").write_text(json.dumps({"sizes": list(islice(SIZES, models))}), encoding="utf-8")
    running.zoo(zoo_home, "run", zoo_home / "recipe.yaml", "--address", running.address)
    learngene = json.loads(running.zoo(zoo_home, "show", NAME, "--json"))
    for name in running.nodes:  # `show` has pulled it
        running.hosts[name].run(["sh", "-c", f"rm -rf {PULLED}; mkdir {PULLED}"], {})
    with arrivals(Path(f"/proc/{running.hosts[name].init}/root{PULLED}") for name in running.nodes) as pulled:
        began = monotonic()
        made = ["instantiate", NAME, "--sizes", zoo_home / "sizes.yaml", "--out", SHARED / "ready"]
        driver = running.start_zoo(zoo_home, *made, "--address", running.address, "--json")
        until(lambda: driver.ended() is not None, "the models", SECONDS, lambda: None)
        seconds = monotonic() - began
    rows = json.loads(driver.said()[driver.said().index("[") :])
    return report(rows, learngene["digest"], pulled.count(learngene["digest"]), running, models, seconds)


def report(rows: list[dict], digest: str, copies: int, running: Cluster, models: int, seconds: float) -> bool:
    """Print the figures; whether they are what was promised."""
    done = sum(row["state"] == "done" for row in rows)
    digests = len({row["digest"] for row in rows})
    caches = [name for name in running.nodes if running.hosts[name].local(f"cache/learngenes/{digest}").is_dir()]
    print(
        f"{done} of {models} models, {digests} different, in {seconds:.0f} s on {len(running.nodes)} nodes of one core"
    )
    print(f"the learngene was copied {copies} times, into the caches of {len(caches)} nodes")
    return done == digests == models and copies == len(caches)


@contextmanager
def arrivals(folders: Iterable[Path]) -> Iterator[list[str]]:
    """Yield a list that gets the name of everything that is renamed into one of the folders; the kernel tells."""
    libc = CDLL(None, use_errno=True)
    watch = libc.inotify_init()
    assert watch >= 0
    for folder in folders:
        assert libc.inotify_add_watch(watch, os.fsencode(folder), IN_MOVED_TO) >= 0
    seen: list[str] = []

    def listen() -> None:
        while True:
            content = os.read(watch, 2**16)
            while content:
                length = EVENT.unpack_from(content)[3]
                seen.append(content[EVENT.size : EVENT.size + length].rstrip(b"\0").decode())
                content = content[EVENT.size + length :]

    Thread(target=listen, daemon=True).start()
    yield seen


if __name__ == "__main__":
    main()
