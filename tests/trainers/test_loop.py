"""The training loop on one worker: resuming, accumulating, diverging, masking, fitting."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from pico import METHOD, pico_arch, pico_data, pico_learngene
from safetensors.torch import load_file
from torch import Tensor

from trainers import checkpoints
from trainers.config import Execution, Training
from trainers.data.sets import ImageSet
from trainers.evaluate import evaluate
from trainers.inputs import Inputs
from trainers.loop import Progress, schedule, train
from trainers.metrics import read_metrics
from trainers.objectives import Task
from trainers.parametrization import Composed, Parametrization, Plain
from trainers.world import World
from zoo import Kronecker, Learngene, Size
from zoo.errors import BadInputError, DivergedError, IntegrityError

SETTINGS = Training(steps=12, batch=32, lr=3e-3, evaluate_every=4)
ONE_WORKER = World(0, 1, torch.device("cpu"))


class KilledError(Exception):
    """Stands for `kill -9`: nothing after it runs."""


def run(module: Parametrization, folder: Path, training: Training = SETTINGS, *, kill_at: int = 0, **execution: int):
    def progress(at: Progress) -> None:
        if at.step == kill_at:
            raise KilledError

    settings = Execution.model_validate({"checkpoint_every": 5, **execution})
    return train(module, Task(), pico_data(), training, settings, folder, progress)


def values(module: Parametrization) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def make(kind: str) -> Parametrization:
    return Plain(pico_arch(), seed=1) if kind == "plain" else Composed(pico_learngene(), masked=0.5)


@pytest.mark.parametrize("kind", ["plain", "composed"])
def test_a_killed_training_ends_bit_for_bit_like_an_undisturbed_one(kind: str, tmp_path: Path) -> None:
    whole, resumed = make(kind), make(kind)
    run(whole, tmp_path / "whole")
    with pytest.raises(KilledError):
        run(make(kind), tmp_path / "cut", kill_at=10)  # after the step, before its checkpoint: that of step 5 counts
    run(resumed, tmp_path / "cut")
    ended, again = values(whole), values(resumed)
    assert all(torch.equal(ended[name], again[name]) for name in ended)
    assert read_metrics(tmp_path / "whole/metrics.jsonl") == read_metrics(tmp_path / "cut/metrics.jsonl")


def test_a_finished_training_is_not_run_again(tmp_path: Path) -> None:
    first, second = make("plain"), make("plain")
    run(first, tmp_path)
    seen: list[Progress] = []
    train(second, Task(), pico_data(), SETTINGS, Execution(checkpoint_every=5), tmp_path, seen.append)
    assert not seen
    assert all(torch.equal(a, b) for a, b in zip(values(first).values(), values(second).values(), strict=True))


def test_metrics_hold_every_step_once_in_order(tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        run(make("plain"), tmp_path, kill_at=10)
    run(make("plain"), tmp_path)
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows if "loss" in row] == [5, 10, 12]
    assert [row["step"] for row in rows if "accuracy" in row] == [4, 8, 12]


def test_a_training_that_is_killed_before_its_first_checkpoint_begins_its_metrics_anew(tmp_path: Path) -> None:
    def begin(kill_at: int) -> None:
        def progress(at: Progress) -> None:
            if at.step == kill_at:
                raise KilledError

        settings = Execution(checkpoint_every=12)
        train(make("plain"), Task(), pico_data(), SETTINGS, settings, tmp_path, progress, score_at=(0.0, 0.5))

    with pytest.raises(KilledError):
        begin(kill_at=10)
    begin(kill_at=0)
    steps = [row["step"] for row in read_metrics(tmp_path / "metrics.jsonl") if "accuracy" in row]
    assert steps == [0, 4, 6, 8, 12]


def test_half_a_line_of_a_killed_writer_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo', encoding="utf-8")
    assert read_metrics(path) == [{"step": 1, "loss": 2.0}]


def test_only_the_last_two_checkpoints_are_kept(tmp_path: Path) -> None:
    run(make("plain"), tmp_path, checkpoint_every=3)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-000000009", "step-000000012"]


@pytest.mark.parametrize("kind", ["plain", "composed"])
def test_micro_batches_accumulate_to_the_whole_batch(kind: str, tmp_path: Path) -> None:
    whole, parts = make(kind), make(kind)
    run(whole, tmp_path / "whole")
    run(parts, tmp_path / "parts", micro_batch=9)  # 32 in parts of at most 9: four of 8
    for a, b in zip(values(whole).values(), values(parts).values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)  # Adam enlarges the rounding of tiny gradients


def test_a_diverging_loss_ends_the_training_at_its_step_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    class Poisoned(Plain):
        def forward(self, x: Inputs) -> Tensor:
            return super().forward(x) * (float("nan") if self.training and self.step == 7 else 1.0)

        def begin(self, step: int, seed: int) -> None:
            self.step = step

    with pytest.raises(DivergedError, match=r"nan at step 8; .*train\.lr"):
        run(Poisoned(pico_arch()), tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000000005"]
    state = load_file(tmp_path / "checkpoints/step-000000005/00000.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in state.values())


def test_a_gradient_that_explodes_under_a_finite_loss_is_never_saved(tmp_path: Path) -> None:
    class Exploding(Plain):
        def begin(self, step: int, seed: int) -> None:
            if step == 4:  # the last before the first checkpoint
                next(self.parameters()).register_hook(lambda grad: grad * float("inf"))

    with pytest.raises(DivergedError, match=r"the gradient norm is (inf|nan) at step 5"):
        run(Exploding(pico_arch()), tmp_path)
    assert not list((tmp_path / "checkpoints").glob("step-*"))


def test_a_model_that_diverges_in_its_last_step_is_no_result(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=r"held-out samples is .* at step 1"):
        run(make("plain"), tmp_path, Training(steps=1, batch=32, lr=1e30, warmup=0))
    assert not list((tmp_path / "checkpoints").glob("step-*"))


def test_bad_samples_are_told_in_the_metrics(tmp_path: Path) -> None:
    data = pico_data()
    assert isinstance(data.train, ImageSet)
    damaged = replace(data, train=replace(data.train, skipped=3))
    train(make("plain"), Task(), damaged, SETTINGS, Execution(), tmp_path)
    assert read_metrics(tmp_path / "metrics.jsonl")[0] == {"step": 0, "skipped_samples": 3}


def test_training_learns(tmp_path: Path) -> None:
    module = make("plain")
    before = evaluate(module, module, Task(), pico_data(), ONE_WORKER)
    run(module, tmp_path, Training(epochs=20, batch=32, lr=3e-3))
    after = evaluate(module, module, Task(), pico_data(), ONE_WORKER)
    assert after["eval_loss"] < before["eval_loss"] - 0.5
    assert after["accuracy"] > before["accuracy"]


def test_bf16_follows_fp32_and_keeps_its_weights_in_fp32(tmp_path: Path) -> None:
    full, half = make("composed"), make("composed")
    run(full, tmp_path / "fp32")
    run(half, tmp_path / "bf16", SETTINGS.model_copy(update={"precision": "bf16"}))
    assert {p.dtype for p in half.parameters()} == {torch.float32}
    losses = [
        [r["loss"] for r in read_metrics(tmp_path / name / "metrics.jsonl") if "loss" in r] for name in ("fp32", "bf16")
    ]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_fitting_moves_scalers_and_free_tensors_but_no_template(tmp_path: Path) -> None:
    learngene = pico_learngene()
    module = Composed(learngene, freeze_shared=True)
    run(module, tmp_path)
    fitted = module.learngene().tensors
    moved = {name for name in fitted if not torch.equal(fitted[name], learngene.tensors[name])}
    assert moved == {name for name in fitted if not METHOD.shared(name)}


def test_masked_steps_train_every_smaller_legal_size(tmp_path: Path) -> None:
    module = Composed(pico_learngene(), masked=1.0)
    seen: set[str] = set()
    for step in range(50):
        module.begin(step, seed=0)
        seen.add(str(module.target.size))
    assert seen == {"1x16", "1x32", "2x16", "2x32"}


def test_masked_steps_train_legal_sizes_where_tiles_and_heads_disagree() -> None:
    arch = pico_arch(Size(depth=1, width=96, heads=2, mlp=96))
    method = Kronecker(tile=32, templates=1)
    module = Composed(Learngene(method, arch, method.start(arch, 0)), masked=1.0)
    for step in range(20):
        module.begin(step, seed=0)
    assert module.target.size.width == 96  # heads of 48 channels, tiles of 32: nothing smaller fits both


def test_a_masked_step_computes_what_instantiate_would_give() -> None:
    learngene = pico_learngene()
    module = Composed(learngene, masked=1.0).train()
    x = torch.randn(3, 1, 8, 8)
    step = next(s for s in range(50) if module.begin(s, 0) or str(module.target.size) == "1x16")
    module.begin(step, 0)
    size = learngene.size(1, 16)
    model = pico_arch(size).assemble(learngene.expand(size))
    torch.testing.assert_close(module(x), model(x))


def test_what_does_not_map_does_not_decay() -> None:
    for module in (make("plain"), make("composed")):
        names = {name for name, p in module.named_parameters() if not module.decays(name)}
        assert names
        assert all(any(word in name for word in ("bias", "norm", "token", "pos_embed")) for name in names)
        decayed, others = module.groups(0.1)
        assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)


def test_the_schedule_rises_linearly_and_falls_to_zero() -> None:
    rates = [schedule(step, 100, 0.1) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert rates[10] == 1.0
    assert all(a > b for a, b in pairwise(rates[10:]))
    assert rates[-1] < 1e-3


def test_a_checkpoint_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "checkpoints/step-000000005").mkdir(parents=True)
    with pytest.raises(IntegrityError, match=r"step-000000005 is no checkpoint that this version can read; delete it"):
        run(make("plain"), tmp_path)


def test_a_checkpoint_is_written_in_files_of_a_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So saving takes little memory; and what was in several files is read back as from one."""
    whole, resumed = make("plain"), make("plain")
    run(whole, tmp_path / "whole")
    monkeypatch.setattr(checkpoints, "FILE_BYTES", 50_000)
    with pytest.raises(KilledError):
        run(make("plain"), tmp_path / "cut", kill_at=10)
    assert len(list((tmp_path / "cut/checkpoints/step-000000005").iterdir())) > 3
    run(resumed, tmp_path / "cut")
    assert all(torch.equal(a, b) for a, b in zip(values(whole).values(), values(resumed).values(), strict=True))


def test_nothing_in_a_checkpoint_can_run(tmp_path: Path) -> None:
    run(make("plain"), tmp_path)
    files = [path for path in (tmp_path / "checkpoints").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".safetensors"}


def test_a_training_that_is_told_to_stop_at_a_checkpoint_goes_on_from_there(tmp_path: Path) -> None:
    whole, resumed = make("plain"), make("plain")
    run(whole, tmp_path / "whole")

    def stop() -> None:
        raise KilledError

    settings = Execution(checkpoint_every=5)
    with pytest.raises(KilledError):
        train(make("plain"), Task(), pico_data(), SETTINGS, settings, tmp_path / "cut", on_checkpoint=stop)
    assert [row["step"] for row in read_metrics(tmp_path / "cut/metrics.jsonl")] == [4, 5]
    run(resumed, tmp_path / "cut")
    assert all(torch.equal(a, b) for a, b in zip(values(whole).values(), values(resumed).values(), strict=True))


def test_a_batch_larger_than_the_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="4096"):
        run(make("plain"), tmp_path, Training(steps=1, batch=4096))


def test_more_workers_than_held_out_samples_are_refused_before_training() -> None:
    with pytest.raises(BadInputError, match=r"resources\.workers: 65 are more than the 64 held-out samples"):
        pico_data().batches(65, 0, World(0, 65, ONE_WORKER.device))


def test_an_elastic_training_has_at_least_one_and_at_most_all_workers() -> None:
    assert Execution(workers=3, min_workers=3).min_workers == 3
    with pytest.raises(ValueError, match="min_workers is 4, workers 3; legal: 1 to 3"):
        Execution(workers=3, min_workers=4)
