"""Run under torchrun: trains the pico model with one engine; the first worker saves what came out."""

import os
import sys
from pathlib import Path

import torch
from pico import pico_arch, pico_data, pico_learngene
from pico_text import text_data, tiny_arch, tiny_learngene
from torch.distributed import init_process_group

from trainers.config import Execution, Training
from trainers.loop import Progress, train
from trainers.objectives import Task
from trainers.parametrization import Composed, Plain


def main(kind: str, engine: str, zero: str, stop_at: str, folder: str) -> None:
    init_process_group("gloo")
    text = kind.startswith("text")
    arch, learngene = (tiny_arch(), tiny_learngene()) if text else (pico_arch(), pico_learngene())
    module = Plain(arch, seed=1) if kind.endswith("plain") else Composed(learngene, masked=0.5)
    data = text_data(Path(folder) / "corpus", "masked") if text else pico_data()
    execution = Execution.model_validate({"engine": engine, "zero": int(zero), "micro_batch": 8, "checkpoint_every": 3})
    training = Training(steps=9, batch=32, lr=3e-3)

    def stop(progress: Progress) -> None:
        if progress.step == int(stop_at):
            os._exit(1)  # as a killed worker ends: nothing is flushed, nobody is told

    done = train(module, Task(), data, training, execution, Path(folder), stop)
    with done.gathered():
        if done.world.rank == 0:
            torch.save({name: p.detach().clone() for name, p in module.named_parameters()}, Path(folder) / "end.pt")
    done.world.barrier()
    os._exit(0)  # torch's gloo threads now and then abort the end of the interpreter; all that counts is written


if __name__ == "__main__":
    main(*sys.argv[1:])
