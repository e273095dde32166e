"""The tables of BERT, RoBERTa and GPT-2 say what transformers builds, and how it is used."""

from typing import Any

import pytest
import torch
from text_samples import EVERY, LENGTH, TASKS, VOCAB, label, output, text_arch, tokens
from torch import nn
from torch.func import functional_call
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode
from transformers.pytorch_utils import Conv1D
from zoo_samples import noise

from zoo.architecture import Architecture, Weights
from zoo.errors import BadInputError
from zoo.families import architecture
from zoo.size import Size
from zoo.units import widen

SIZES = [
    Size(depth=1, width=1, heads=1, mlp=1),
    Size(depth=3, width=10, heads=10, mlp=7),
    Size(depth=2, width=16, heads=1, mlp=64),
]
OTHER = {"vocab_size": 11, "max_length": 5, "hidden_act": "gelu_new"}
GRID = [
    *EVERY,
    *(text_arch(family, task, size) for size in SIZES for family, task in [*TASKS, ("gpt2", "")]),
    *(text_arch(family, task, **OTHER) for family, task in [*TASKS, ("gpt2", "")]),
    text_arch("bert", "classification", type_vocab_size=4, num_labels=1),
    text_arch("roberta", "masked", pad_token_id=0, type_vocab_size=2),
    text_arch("roberta", "none", pad_token_id=6),
]
BASE = Size(depth=12, width=768, heads=12)

grid = pytest.mark.parametrize("arch", GRID, ids=label)
every = pytest.mark.parametrize("arch", EVERY, ids=label)
tied = pytest.mark.parametrize("arch", [arch for arch in EVERY if arch.table.ties], ids=label)


def random_start(arch: Architecture) -> Weights:
    torch.manual_seed(0)
    return arch.own(arch.build().state_dict())


@grid
def test_names_and_shapes_equal_the_real_state_dict(arch: Architecture) -> None:
    real = {name: tuple(tensor.shape) for name, tensor in arch.skeleton().state_dict().items()}
    assert arch.table.ties.keys() <= real.keys()
    assert arch.shapes() == {name: shape for name, shape in real.items() if name not in arch.table.ties}


@grid
def test_parameters_equal_the_real_count(arch: Architecture) -> None:
    assert arch.parameters() == sum(parameter.numel() for parameter in arch.skeleton().parameters())


@grid
def test_flops_equal_torchs_counter_on_the_longest_sample(arch: Architecture) -> None:
    config = arch.config.model_dump()
    sample = torch.full((1, config["max_length"]), config["vocab_size"] - 1)
    with FlopCounterMode(display=False) as counter:
        arch.build()(sample)
    assert arch.flops() == counter.get_total_flops()


@pytest.mark.parametrize(
    ("family", "config", "count"),
    [
        ("bert", {"task": "none"}, 109_482_240),
        ("bert", {"task": "masked"}, 109_514_298),
        ("bert", {"task": "classification", "num_labels": 2}, 109_483_778),
        ("roberta", {"task": "none", "pad_token_id": 1}, 124_645_632),
        ("roberta", {"task": "masked", "pad_token_id": 1}, 124_697_433),
        ("roberta", {"task": "classification", "num_labels": 2, "pad_token_id": 1}, 124_647_170),
        ("gpt2", {}, 124_439_808),
    ],
)
def test_base_models_have_the_published_numbers_of_parameters(family: str, config: dict[str, Any], count: int) -> None:
    assert architecture(family, config, BASE).parameters() == count


@every
def test_stacked_and_unstacked_weights_compute_the_same_in_double_precision(arch: Architecture) -> None:
    """Also shows that a tied tensor reaches both places when it is given under one name."""
    weights = noise(arch, dtype=torch.float64)
    real = arch.build().double()
    real.load_state_dict(weights, strict=False)
    back = arch.unstack(arch.stack(weights))
    skeleton = arch.skeleton().eval()
    ours = output(lambda ids: functional_call(skeleton, back, (ids,)), tokens())
    assert ours.dtype == torch.float64
    assert torch.equal(ours, output(real.eval(), tokens()))


@tied
def test_an_assembled_model_has_its_ties(arch: Architecture) -> None:
    model = arch.assemble(noise(arch))
    for alias, name in arch.table.ties.items():
        assert model.get_parameter(alias) is model.get_parameter(name)


@tied
def test_logits_follow_the_last_scale_before_a_tied_output(arch: Architecture) -> None:
    """But for the output's own bias."""
    weights = noise(arch, dtype=torch.float64)
    feeding = [key for key, kind in arch.kinds.items() if kind.feeds_tied]
    assert len(feeding) == 2
    halved = weights | {name: weights[name] / 2 for name in feeding}
    bias = next((weights[name] for name in weights if name in ("lm_head.bias", "cls.predictions.bias")), 0)
    whole, half = (output(arch.assemble(w).eval(), tokens()) - bias for w in (weights, halved))
    assert_close(half, whole / 2)


@every
def test_blocks_add_nothing_where_what_closes_their_branches_is_zero(arch: Architecture) -> None:
    shallow, deep = (arch.at(arch.size.model_copy(update={"depth": depth})) for depth in (1, 3))
    weights = random_start(deep)
    for key, kind in deep.kinds.items():
        for name in deep.names(key) if kind.closes_branch else ():
            weights[name] = torch.zeros_like(weights[name])
    first = {name: weights[name] for name in shallow.shapes()}
    outputs = [output(a.assemble(w).eval(), tokens()) for a, w in ((deep, weights), (shallow, first))]
    assert_close(outputs[0], outputs[1], atol=1e-5, rtol=0)


@every
def test_repeating_every_unit_with_inputs_divided_keeps_the_function(arch: Architecture) -> None:
    """So the table says truly which axes are inputs, and which scale takes the divisions of a tied output."""
    size = arch.size
    wide = arch.at(Size(depth=size.depth, width=2 * size.width, heads=2 * size.heads, mlp=3 * size.mlp))
    weights = noise(arch, dtype=torch.float64)
    widened = {key: widen(stack, key, arch, wide) for key, stack in arch.stack(weights).items()}
    narrow_output = output(arch.assemble(weights).eval(), tokens())
    wide_output = output(wide.assemble(wide.unstack(widened)).eval(), tokens())
    assert_close(wide_output[..., : narrow_output.shape[-1]], narrow_output)


@every
def test_weight_decay_applies_to_the_maps(arch: Architecture) -> None:
    modules = arch.skeleton().named_modules()
    maps = {f"{name}.weight" for name, module in modules if isinstance(module, nn.Linear | Conv1D)}
    decayed = {name for key, kind in arch.kinds.items() if kind.decays for name in arch.names(key)}
    assert decayed == maps - arch.table.ties.keys()


@every
def test_dropout_acts_everywhere_or_nowhere(arch: Architecture) -> None:
    off, on = (architecture(arch.family.name, {**arch.config.model_dump(), "dropout": p}, arch.size) for p in (0, 0.25))
    shares = {module.p for module in on.skeleton().modules() if isinstance(module, nn.Dropout)}
    assert shares == {0.25}
    model = off.build()
    assert torch.equal(output(model.train(), tokens()), output(model.eval(), tokens()))


@every
def test_samples_may_be_as_long_as_the_config_says_and_no_longer(arch: Architecture) -> None:
    model = arch.assemble(noise(arch)).eval()
    assert output(model, tokens(LENGTH)).isfinite().all()
    with pytest.raises((IndexError, RuntimeError)):
        output(model, tokens(LENGTH + 1))


@pytest.mark.parametrize("padding", [0, 1, 4])
def test_positions_of_roberta_begin_after_the_padding_row(padding: int) -> None:
    arch = text_arch("roberta", "masked", pad_token_id=padding)
    weights = noise(arch)
    table = weights["roberta.embeddings.position_embeddings.weight"]
    assert len(table) == LENGTH + padding + 1
    before = output(arch.assemble(weights).eval(), tokens())
    table[: padding + 1] = 1000.0
    assert torch.equal(before, output(arch.assemble(weights).eval(), tokens()))


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_padding_does_not_change_what_a_sample_gives(family: str) -> None:
    arch = text_arch(family, "masked")
    model = arch.assemble(noise(arch)).double().eval()
    sample = tokens(5)
    pads = torch.full((2, 4), arch.config.model_dump()["pad_token_id"])
    mask = torch.tensor([[1] * 5 + [0] * 4] * 2)
    padded = output(model, torch.cat([sample, pads], dim=1), attention_mask=mask)
    assert_close(padded[:, :5], output(model, sample))


def test_padding_rows_of_roberta_start_at_zero_and_stay_there() -> None:
    arch = text_arch("roberta", "classification", dropout=0)
    model = arch.assemble(random_start(arch))
    sample = tokens()
    sample[:, -3:] = 1
    model(sample).logits.square().sum().backward()
    for name in ("word_embeddings", "position_embeddings"):
        table = model.get_parameter(f"roberta.embeddings.{name}.weight")
        assert table.grad is not None
        assert table[1].count_nonzero() == table.grad[1].count_nonzero() == 0
        assert table.grad.count_nonzero() > 0


def test_a_stack_of_gpt2_has_outputs_first_though_its_maps_store_inputs_first() -> None:
    arch = text_arch("gpt2", size=Size(depth=2, width=12, heads=3, mlp=20))
    weights = noise(arch)
    stacks = arch.stack(weights)
    keys = stacks["transformer.h.{layer}.attn.c_attn.weight"][1, 1]
    assert torch.equal(keys, weights["transformer.h.1.attn.c_attn.weight"][:, 12:24].T)
    up = stacks["transformer.h.{layer}.mlp.c_fc.weight"]
    assert [axis.role for axis in arch.axes("transformer.h.{layer}.mlp.c_fc.weight")] == ["layer", "out", "in"]
    assert up.shape == (2, 20, 12)


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_beside_a_head_the_body_keeps_its_names_but_for_the_prefix(family: str) -> None:
    bare, headed = text_arch(family, "none"), text_arch(family, "classification")
    body = {name.removeprefix(headed.family.body): shape for name, shape in headed.shapes().items()}
    shared = {name: shape for name, shape in bare.shapes().items() if not name.startswith("pooler.")}
    assert shared.items() <= body.items()


@pytest.mark.parametrize(
    ("family", "config", "words"),
    [
        ("bert", {"task": "classification"}, "config.num_labels: .*needed for task classification"),
        ("bert", {"task": "masked", "num_labels": 2}, "config.num_labels: .*needed for task classification, and for"),
        ("bert", {"task": "causal"}, "config.task: Input should be 'none', 'masked' or 'classification'"),
        ("bert", {"pad_token_id": VOCAB, "vocab_size": VOCAB}, f"config.pad_token_id: .*below vocab_size {VOCAB}"),
        ("bert", {"hidden_act": "relu"}, "config.hidden_act: Input should be 'gelu' or 'gelu_new'"),
        ("roberta", {}, "config.pad_token_id: Field required"),
        ("gpt2", {"task": "masked"}, "config.task: Input should be 'causal'"),
        ("gpt2", {"dropout": 1}, "config.dropout: Input should be less than 1"),
        ("gpt2", {"n_positions": 8}, "config.n_positions: Extra inputs .*; fields of 'gpt2': .*max_length"),
    ],
)
def test_a_wrong_config_is_refused_with_its_field_and_what_is_legal(
    family: str, config: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadInputError, match=words):
        architecture(family, config, BASE)
