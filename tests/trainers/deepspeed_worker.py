"""Run under torchrun: trains the pico model with one engine; the first worker saves what came out."""

import sys
from pathlib import Path

import torch
from pico import pico_arch, pico_data, pico_learngene
from torch.distributed import destroy_process_group, init_process_group

from trainers.config import Execution, Training
from trainers.loop import train
from trainers.objectives import Task
from trainers.parametrization import Composed, Plain


def main(kind: str, engine: str, zero: str, steps: str, folder: str) -> None:
    init_process_group("gloo")
    module = Plain(pico_arch(), seed=1) if kind == "plain" else Composed(pico_learngene(), masked=0.5)
    execution = Execution.model_validate({"engine": engine, "zero": int(zero), "micro_batch": 8, "checkpoint_every": 3})
    training = Training(steps=6, batch=32, lr=3e-3)

    class Stop(Exception):  # noqa: N818  it stands for a kill, not for an error
        pass

    def stop(progress: object) -> None:
        if getattr(progress, "step", 0) == int(steps):
            raise Stop

    try:
        done = train(module, Task(), pico_data(), training, execution, Path(folder), stop)
        with done.gathered():
            if done.world.rank == 0:
                torch.save({name: p.detach().clone() for name, p in module.named_parameters()}, Path(folder) / "end.pt")
    except Stop:
        print("stopped")
    destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
