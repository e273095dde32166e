"""Recipes: what mu-pscaling can carry on, what an engine cannot do, and unknown fields deep inside."""

import re
from pathlib import Path

import pytest

from pipelines.recipe.file import load_recipe
from zoo.errors import BadInputError

GOOD = """\
name: pico
family: mlp
config: {img_size: 8, in_chans: 1, num_classes: 10}
data: {kind: digits}
stages:
  narrow:
    run: pretrain
    size: {depth: 2, width: 16}
    train: {steps: 4, batch: 32}
    keep_optimizer: true
  plain:
    run: pretrain
    start: {stage: narrow}
    size: {depth: 2, width: 16}
    train: {steps: 4, batch: 32}
  refined:
    run: refine
    weights: {stage: narrow}
    train: {steps: 4, batch: 32}
  tuned:
    run: tune
    weights: {stage: narrow}
    size: {depth: 2, width: 32}
    train: {steps: 4, batch: 32}
    grid: {lr: [0.1], noise: [0.0]}
  wide:
    run: widen
    weights: {stage: narrow}
    size: {depth: 2, width: 64}
    train: {steps: 4, batch: 32}
    tuned: {stage: tuned}
bench:
  sizes: [{depth: 2, width: 32}]
  train: {steps: 2}
  reference: {steps: 4, lr: [0.1]}
  starts:
    bot: {weights: {stage: narrow}, method: {name: bot, sizes: [{depth: 2, width: 8}]}}
register: {}
"""
NARROW, TUNE, WIDE = (
    f"size: {{depth: 2, width: {width}}}\n    train: {{steps: 4, batch: 32}}\n    {after}"
    for width, after in ((16, "keep_optimizer: true"), (32, "grid"), (64, "tuned"))
)
DEEPSPEED = "resources: {engine: deepspeed}\n    "


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "recipe.yaml"


def changed(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, old
    return text.replace(old, new)


def mistakes(path: Path, *changes: tuple[str, str]) -> list[str]:
    """What is said of the recipe with `(old, new)` texts, with `FILE` for its path; nothing where it is good."""
    text = GOOD
    for old, new in changes:
        text = changed(text, old, new)
    path.write_text(text, encoding="utf-8")
    try:
        load_recipe(path)
    except BadInputError as error:
        return str(error).replace(str(path), "FILE").splitlines()
    return []


def test_a_recipe_that_carries_on_what_was_kept_is_good(path: Path) -> None:
    assert mistakes(path) == []


@pytest.mark.parametrize("giver", ["plain", "refined"])
def test_only_a_training_that_kept_its_optimizers_state_can_be_carried_on(path: Path, giver: str) -> None:
    other = (
        "  wide:\n    run: widen\n    weights: {stage: narrow}",
        f"  wide:\n    run: widen\n    weights: {{stage: {giver}}}",
    )
    hint = "only run: pretrain with keep_optimizer: true keeps the optimizer's state; or set optimizer: fresh"
    assert mistakes(path, other) == [f"FILE:28: stages.wide.weights: {hint}"]
    assert mistakes(path, other, ("    tuned: {stage", "    optimizer: fresh\n    tuned: {stage")) == []


@pytest.mark.parametrize(
    ("theirs", "mine", "fits"),
    [("sgd", "adamw", False), ("adamw", "sgd", False), ("adam", "adamw", True), ("sgd", "sgd", True)],
)
def test_an_optimizer_carries_on_the_state_of_its_own_kind_only(path: Path, theirs: str, mine: str, fits: bool) -> None:
    optimizers = [
        (stage, stage.replace("batch: 32", f"batch: 32, optimizer: {name}"))
        for stage, name in ((NARROW, theirs), (TUNE, theirs), (WIDE, mine))
    ]
    text = f"{mine} cannot carry on the state of {theirs}; legal: {theirs}, or optimizer: fresh"
    assert mistakes(path, *optimizers) == ([] if fits else [f"FILE:30: stages.wide.train.optimizer: {text}"])


def test_deepspeed_cannot_clip_a_widened_model_and_says_so_before_anything_runs(path: Path) -> None:
    said = mistakes(path, (WIDE, DEEPSPEED + WIDE))
    text = "a widened model must be clipped by the narrow model's"
    assert any(line.startswith("FILE:29: stages.wide.resources.engine: ") and text in line for line in said), said


def test_deepspeed_keeps_and_carries_the_state_of_an_optimizer(path: Path) -> None:
    wide = (DEEPSPEED + WIDE).replace("batch: 32", "batch: 32, clip: null")
    assert mistakes(path, (NARROW, DEEPSPEED + NARROW), (WIDE, wide)) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("start: {stage: narrow}", "start: {stage: narrow, foldr: x}", r"FILE:13: .*\.foldr: .*legal fields: stage$"),
        ("start: {stage: narrow}", "start: {folder: x, stag: y}", r"FILE:13: .*\.stag: .*legal fields: folder$"),
        ("start: {stage: narrow}", "start: {entry: x, stag: y}", r"FILE:13: .*\.stag: .*legal fields: entry$"),
        ("tuned: {stage: tuned}", "tuned: {stage: tuned, x: 1}", r"FILE:31: stages.wide.tuned.x: .*fields: stage$"),
        (
            "register: {}",
            "register: {a.b: {stage: wide, x: 1}}",
            r"FILE:38: register.a.b.x: .*fields: stage, gate, task, t",
        ),
        ("noise: [0.0]", "noise: [0.0], noises: []", r"FILE:25: stages.tuned.grid.noises: .*fields: lr, noise$"),
        ("width: 32}]", "width: 32, hight: 1}]", r"FILE:33: bench.sizes.0.hight: .*fields: depth, width, heads, mlp$"),
        ("width: 8}", "width: 8, hight: 1}", r"FILE:37: bench.starts.bot.method.sizes.0.hight: .*fields: depth, wid"),
        ("name: bot,", "name: bot, wave: db2,", r"FILE:37: bench.starts.bot.method.wave: .*fields: name, wavelet"),
        ("weights: {stage: narrow}, m", "weight: x, m", r"FILE:37: bench.starts.bot.weight: .*fields: learngene, weig"),
        ("lr: [0.1]}\n  starts", "lr: [0.1], x: 1}\n  starts", r"FILE:35: bench.reference.x: .*fields: steps, lr, tun"),
        ("train: {steps: 2}", "train: {steps: 2, x: 1}", r"FILE:34: bench.train.x: .*legal fields: epochs, steps"),
    ],
)
def test_an_unknown_field_is_answered_with_the_fields_of_its_own_place(
    path: Path, old: str, new: str, message: str
) -> None:
    said = mistakes(path, (old, new))
    assert any(re.match(message, line) for line in said), said


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("size: {depth: 2, width: 64}", "size: {depth: 2, width: 40}", r"stages\.wide\.size: width: 40 is not legal"),
        ("size: {depth: 2, width: 64}", "size: {depth: 3, width: 64}", r"stages\.wide\.size: depth: 3 is not legal"),
        ("grid: {lr: [0.1]", "grid: {lr: [-0.1]", r"stages\.tuned\.grid\.lr\.0: .* greater than 0"),
        (
            "start: {stage: narrow}\n    size: {depth: 2, width: 16}",
            "start: {stage: narrow}\n    size: {depth: 2, width: 24}",
            r"stages\.plain\.size: size: it starts from a checkpoint of 2x16; condense that first",
        ),
        ("run: refine\n", "run: refine\n    keep: 1.0\n", r"stages\.refined\.keep: .*less than 1"),
        (
            "start: {stage: narrow}\n",
            "start: {stage: narrow, foldr: x}\n",
            r":\d+: stages\.plain\.start\.foldr: unknown",
        ),
        (
            "train: {steps: 2}\n",
            "train: {steps: 2}\n  resources: {workers: 999}\n",
            r"bench\.train\.batch: .*999 workers",
        ),
    ],
)
def test_what_would_only_fail_hours_later_is_refused_at_once(path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    path.write_text(GOOD.replace(old, new), encoding="utf-8")
    with pytest.raises(BadInputError, match=message) as error:
        load_recipe(path)
    assert "should have at least 1 item" not in str(error.value)


def test_a_trial_that_widens_needs_a_start(path: Path) -> None:
    fields = "run: trial, widen: {name: mupscaling}, size: {depth: 2, width: 32}, train: {steps: 1}"
    trial = f"  trial: {{{fields}}}\n"
    path.write_text(GOOD.replace("bench:\n", f"{trial}bench:\n"), encoding="utf-8")
    with pytest.raises(BadInputError, match="widen needs a start"):
        load_recipe(path)


def test_a_fit_of_what_has_nothing_to_fit_is_found_before_anything_runs(path: Path) -> None:
    stages = """\
  closed:
    run: condense
    weights: {stage: narrow}
  fitted:
    run: fit
    learngene: {stage: closed}
    size: {depth: 2, width: 8}
    train: {steps: 4}
bench:
"""
    path.write_text(GOOD.replace("bench:\n", stages), encoding="utf-8")
    with pytest.raises(BadInputError, match=r"stages\.fitted\.learngene: method 'front' has nothing to fit"):
        load_recipe(path)
