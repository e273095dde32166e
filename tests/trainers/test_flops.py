"""FLOPs of a training: counted on the real steps, the same whatever the engine or an interruption."""

from pathlib import Path

from pico import pico_arch, pico_data, pico_learngene

from trainers.config import Execution, Training
from trainers.loop import train
from trainers.metrics import last_value
from trainers.objectives import Task
from trainers.parametrization import Composed, Parametrization, Plain
from zoo import Size
from zoo.families import architecture

BATCH = 32


def cost(module: Parametrization, folder: Path, steps: int, **execution: int) -> float:
    train(module, Task(), pico_data(), Training(steps=steps, batch=BATCH), Execution.model_validate(execution), folder)
    return last_value(folder / "metrics.jsonl", "flops")


def test_a_step_costs_three_forward_passes(tmp_path: Path) -> None:
    """Less the gradient of the images, and once more the scores of the attention, which it computes again."""
    arch = pico_arch()
    patches, pixels, tokens, width = 4, 4 * 4, 4 + 1, arch.size.width
    images, scores = 2 * patches * pixels * width, 2 * tokens**2 * width * arch.size.depth
    assert cost(Plain(arch), tmp_path, steps=2) == 2 * BATCH * (3 * arch.flops() - images + scores)


def test_a_step_of_a_convnext_costs_three_forward_passes_too(tmp_path: Path) -> None:
    """Its depthwise maps are in groups of one channel. Less the gradient of the images."""
    config = {"img_size": 8, "patch_size": 1, "in_chans": 1, "num_classes": 10}
    arch = architecture("convnext", config, Size(depth=5, width=8))
    images = 2 * 8 * 8 * arch.size.width
    assert cost(Plain(arch), tmp_path, steps=2) == 2 * BATCH * (3 * arch.flops() - images)


def test_accumulating_micro_batches_costs_the_same(tmp_path: Path) -> None:
    whole = cost(Plain(pico_arch()), tmp_path / "whole", steps=2)
    assert cost(Plain(pico_arch()), tmp_path / "parts", steps=2, micro_batch=8) == whole


def test_expanding_templates_is_counted(tmp_path: Path) -> None:
    plain = cost(Plain(pico_arch()), tmp_path / "plain", steps=2)
    assert cost(Composed(pico_learngene()), tmp_path / "composed", steps=2) > plain


def test_steps_that_train_a_part_of_the_model_cost_less(tmp_path: Path) -> None:
    whole = cost(Composed(pico_learngene()), tmp_path / "whole", steps=20)
    masked = cost(Composed(pico_learngene(), masked=0.5), tmp_path / "masked", steps=20)
    assert masked < 0.95 * whole
