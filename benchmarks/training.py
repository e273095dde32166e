"""A training of some seconds by two workers, whoever starts them: what `benchmarks.overhead` compares.

Under torchrun it is run as a program, under Ray its function is called; from there on everything is the same.
"""

import json
import os
import sys
from pathlib import Path
from time import process_time
from typing import NamedTuple

from torch.distributed import init_process_group

from benchmarks.rows import SEED
from trainers.config import Execution, Training
from trainers.data.config import Digits
from trainers.dataset import Dataset
from trainers.loop import LOG_EVERY, Progress, train
from trainers.objectives import Task
from trainers.parametrization import Plain
from zoo import Size
from zoo.families import architecture

WORKERS = 2
SPEEDS = "speeds.json"
_CONFIG = {"img_size": 8, "patch_size": 2, "in_chans": 1, "num_classes": 10}
_SIZE = Size(depth=4, width=96, heads=3)
_TRAINING = Training(steps=160, batch=128)
_EXECUTION = Execution(workers=WORKERS, engine="deepspeed", zero=2, checkpoint_every=1000)


class Speed(NamedTuple):
    """Seconds a sample: by the clock, and of the first worker's CPU time, which is the same on a busy machine."""

    wall: float
    cpu: float


def train_a_while(folder: str) -> None:
    """Train in `folder`; the first worker writes a file with a `Speed` of every ten steps but the first."""
    speeds: list[Speed] = []
    before = process_time()

    def note(progress: Progress) -> None:
        nonlocal before
        now = process_time()
        speeds.append(Speed(wall=1 / progress.samples_per_second, cpu=(now - before) / (LOG_EVERY * _TRAINING.batch)))
        before = now

    module = Plain(architecture("vit", _CONFIG, _SIZE), seed=SEED)
    data = Dataset.open(Digits(), held_out="validation")
    done = train(module, Task(), data, _TRAINING, _EXECUTION, Path(folder), note)
    if done.world.rank == 0:
        rows = [speed._asdict() for speed in speeds[1:]]
        (Path(folder) / SPEEDS).write_text(json.dumps(rows), encoding="utf-8")
    done.world.barrier()


if __name__ == "__main__":
    init_process_group("gloo")
    train_a_while(sys.argv[1])
    os._exit(0)  # torch's gloo threads now and then abort the end of the interpreter; all that counts is written
