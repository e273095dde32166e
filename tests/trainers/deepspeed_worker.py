"""One of the workers of a test: trains the pico model with one engine; the first worker saves what came out."""

import multiprocessing
import os
from collections.abc import Mapping
from multiprocessing.connection import wait
from pathlib import Path

import torch
from pico import pico_arch, pico_data, pico_learngene
from pico_text import text_data, tiny_arch, tiny_learngene
from torch.distributed import init_process_group

from trainers.config import Execution, Training
from trainers.loop import Progress, train
from trainers.objectives import Task
from trainers.parametrization import Composed, Plain


def launch(workers: int, environment: Mapping[str, str], call: tuple[str, Execution, int, Path]) -> int:
    """Run `work` in so many processes, as torchrun does; the exit code of the first that fails, 0 if none does.

    They are forked from a process that has imported everything: five seconds for each, when the training takes one.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["deepspeed", "trainers.engines.zero", "timm", "transformers", __name__])
    store = call[-1] / f"store-{len(list(call[-1].glob('store-*')))}"
    processes = [
        context.Process(target=work, args=(rank, workers, store, environment, *call)) for rank in range(workers)
    ]
    for process in processes:
        process.start()
    while running := [process for process in processes if process.exitcode is None]:
        wait([process.sentinel for process in running])
        if any(process.exitcode for process in processes):
            for process in processes:
                process.kill()
    return next((process.exitcode for process in processes if process.exitcode), 0)


def work(
    rank: int,
    workers: int,
    store: Path,
    environment: Mapping[str, str],
    kind: str,
    execution: Execution,
    stop_at: int,
    folder: Path,
) -> None:
    ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": workers, "LOCAL_WORLD_SIZE": workers}
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 29500}  # nobody listens there: DeepSpeed wants a name
    os.environ.update({name: str(value) for name, value in {**ranks, **meeting, **environment}.items()})
    torch.set_num_threads(1)
    init_process_group("gloo", init_method=store.as_uri(), rank=rank, world_size=workers)
    text = kind.startswith("text")
    arch, learngene = (tiny_arch(), tiny_learngene()) if text else (pico_arch(), pico_learngene())
    module = Plain(arch, seed=1) if kind.endswith("plain") else Composed(learngene, masked=0.5)
    data = text_data(folder / "corpus", "masked") if text else pico_data()
    training = Training(steps=9, batch=32, lr=3e-3)

    def stop(progress: Progress) -> None:
        if progress.step == stop_at:
            os._exit(1)  # as a killed worker ends: nothing is flushed, nobody is told

    done = train(module, Task(), data, training, execution, folder, stop)
    with done.gathered():
        if done.world.rank == 0:
            torch.save({name: p.detach().clone() for name, p in module.named_parameters()}, folder / "end.pt")
    done.world.barrier()
    os._exit(0)  # torch's gloo threads now and then abort the end of the interpreter; all that counts is written
