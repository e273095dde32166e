"""A widened model in the real loop trains exactly as its narrow ancestor would have trained on."""

from pathlib import Path

import pytest
import torch
from pico import PICO, pico_arch, pico_data

from trainers.config import Execution, Training
from trainers.engines.base import Engine
from trainers.loop import train
from trainers.objectives import Task
from trainers.parametrization import Parametrization, Plain
from trainers.widened import Widened
from zoo import BadInputError, Checkpoint, Size
from zoo.methods.mupscaling import MuPScaling

WIDE = Size(depth=2, width=64, heads=4, mlp=192)


def run(module: Parametrization, training: Training, folder: Path, engine: Engine | None = None) -> Engine:
    state = engine.optimizer_state() if engine else None
    state = module.states(state) if state and isinstance(module, Widened) else state
    return train(module, Task(), pico_data(), training, Execution(), folder, optimizer_state=state)


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_both_give_the_same_outputs_after_training_on(optimizer: str, tmp_path: Path) -> None:
    first = Training(steps=4, batch=32, lr=2e-3, optimizer=optimizer, clip=0.5)  # pyright: ignore[reportArgumentType]
    narrow = Plain(pico_arch(), seed=1)
    engine = run(narrow, first, tmp_path / "ancestor")
    wide = Widened(Checkpoint(narrow.arch, narrow.model.state_dict()), WIDE, MuPScaling())
    on = first.model_copy(update={"seed": 5, "steps": 6})
    begin = Plain(narrow.arch, narrow.model.state_dict())
    run(begin, on, tmp_path / "narrow", engine)
    run(wide, on, tmp_path / "wide", engine)
    x, _ = next(iter(pico_data().evaluation(engine.world)))
    with torch.no_grad():
        before, narrow_out, wide_out = narrow.eval()(x), begin.eval()(x), wide.eval()(x)
    torch.testing.assert_close(wide_out, narrow_out, rtol=1e-4, atol=1e-4)
    assert (narrow_out - before).abs().max() > 100 * (wide_out - narrow_out).abs().max()


def test_a_width_that_is_no_multiple_is_refused() -> None:
    checkpoint = Checkpoint(pico_arch(), Plain(pico_arch(), seed=1).model.state_dict())
    with pytest.raises(BadInputError, match=r"width: 48 .*legal values nearby: 32, 64"):
        Widened(checkpoint, PICO.model_copy(update={"width": 48, "heads": 3}), MuPScaling())
