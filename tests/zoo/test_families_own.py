"""The tables of MLP and DiT say what the zoo's own modules hold; DiT is the model of its paper and gives pictures."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pico_families import trained
from torch import Tensor
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode
from zoo_samples import noise

from zoo.architecture import Architecture
from zoo.checkpoint import Checkpoint, read_checkpoint, save_checkpoint
from zoo.errors import BadInputError
from zoo.families import architecture
from zoo.families.dit_sample import sample, signal
from zoo.manifest import Preprocessing
from zoo.size import Size
from zoo.units import widen


def mlp(depth: int = 2, width: int = 8, **config: int) -> Architecture:
    small = {"img_size": 4, "in_chans": 2, "num_classes": 3}
    return architecture("mlp", small | config, Size(depth=depth, width=width))


def dit(depth: int = 2, width: int = 8, heads: int = 2, hidden: int = 12, **config: int) -> Architecture:
    small = {"img_size": 4, "patch_size": 2, "in_chans": 2, "num_classes": 3}
    return architecture("dit", small | config, Size(depth=depth, width=width, heads=heads, mlp=hidden))


GRID = [
    mlp(),
    mlp(depth=1, width=1, num_classes=1),
    mlp(depth=5, width=7, img_size=1, in_chans=5),
    dit(),
    dit(depth=1, width=1, heads=1, hidden=1),
    dit(depth=3, width=10, heads=5, hidden=7, img_size=6, patch_size=3, in_chans=1),
    dit(depth=1, width=12, heads=3, img_size=3, patch_size=1, num_classes=1),
    dit(depth=12, width=384, heads=6, hidden=1536, img_size=32, in_chans=4, num_classes=1000),
]
grid = pytest.mark.parametrize("arch", GRID, ids=lambda a: f"{a.family.name}-{a.size}-{a.config.img_size}px")
both = pytest.mark.parametrize("arch", [mlp(), dit()], ids=["mlp", "dit"])


def batch(arch: Architecture, count: int = 2) -> dict[str, Tensor]:
    config, random = arch.config.model_dump(), torch.Generator().manual_seed(7)
    x = torch.randn(count, config["in_chans"], config["img_size"], config["img_size"], generator=random)
    steps_and_classes = {"t": torch.arange(count) * 300, "y": torch.arange(count) % (config["num_classes"] + 1)}
    return {"x": x} | (steps_and_classes if arch.family.name == "dit" else {})


@grid
def test_names_and_shapes_equal_the_real_state_dict(arch: Architecture) -> None:
    assert arch.shapes() == {name: tuple(tensor.shape) for name, tensor in arch.skeleton().state_dict().items()}


@grid
def test_parameters_equal_the_real_count(arch: Architecture) -> None:
    assert arch.parameters() == sum(parameter.numel() for parameter in arch.skeleton().parameters())


@grid
def test_flops_equal_torchs_counter_on_the_real_model(arch: Architecture) -> None:
    with FlopCounterMode(display=False) as counter:
        arch.skeleton()(**{name: tensor.to("meta") for name, tensor in batch(arch, 1).items()})
    assert arch.flops() == counter.get_total_flops()


@pytest.mark.parametrize("arch", GRID[:-1], ids=lambda a: f"{a.family.name}-{a.size}")
def test_a_checkpoint_comes_back_bit_by_bit(arch: Architecture, tmp_path: Path) -> None:
    weights, preprocessing = noise(arch), Preprocessing(mean=(0.25,), std=(0.5,))
    save_checkpoint(tmp_path / "ready", Checkpoint(arch, weights, preprocessing=preprocessing), origin="A test.")
    back = read_checkpoint(tmp_path / "ready")
    assert (back.arch, back.preprocessing) == (arch, preprocessing)
    assert back.weights.keys() == weights.keys()
    assert all(torch.equal(back.weights[name], tensor) for name, tensor in weights.items())


@both
def test_weight_decay_applies_to_the_maps_alone(arch: Architecture) -> None:
    tables = {"pos_embed", "class_embed.weight"}
    decayed = {name for name, parameter in arch.skeleton().named_parameters() if parameter.ndim > 1} - tables
    assert {name for key, kind in arch.kinds.items() if kind.decays for name in arch.names(key)} == decayed


@both
def test_every_parameter_gets_a_gradient(arch: Architecture) -> None:
    model = arch.assemble(trained(arch)).train()
    model(**batch(arch)).square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


@both
def test_doubled_units_with_halved_inputs_compute_the_same(arch: Architecture) -> None:
    """Every axis of the table has the right role: outputs are copied, inputs divided."""
    size = arch.size
    wide = arch.at(Size(depth=size.depth, width=2 * size.width, heads=2 * size.heads, mlp=2 * size.mlp))
    weights = trained(arch, dtype=torch.float64)
    grown = wide.unstack({key: widen(x, key, arch, wide) for key, x in arch.stack(weights).items()})
    inputs = {name: tensor.double() if name == "x" else tensor for name, tensor in batch(arch).items()}
    outputs = arch.assemble(weights)(**inputs)
    assert outputs.std() > 0.01
    assert_close(wide.assemble(grown)(**inputs), outputs)


def test_an_mlp_takes_vectors_too() -> None:
    arch = mlp(img_size=1, in_chans=5)
    model = arch.assemble(trained(arch))
    x = batch(arch)["x"]
    assert model(x).shape == (2, 3)
    assert torch.equal(model(x.flatten(1)), model(x))


def test_the_signal_of_a_deep_mlp_neither_dies_nor_explodes_at_the_start() -> None:
    torch.manual_seed(0)
    arch = mlp(depth=30, width=256, img_size=8, num_classes=100)
    assert 0.1 < arch.build()(batch(arch)["x"]).std() < 10


def test_dit_xl_2_has_the_published_parameters_and_operations() -> None:
    """Less the part of the last map that predicts the variances (16 of its 32 rows), which ours does not."""
    arch = architecture("dit", {}, Size(depth=28, width=1152, heads=16))
    assert arch.parameters() == 675_129_632 - 16 * (1152 + 1)
    assert arch.flops() / 2e9 == pytest.approx(118.64, rel=1e-3)


@pytest.mark.parametrize("width", [8, 10, 1])
def test_dit_predicts_zeros_at_the_start(width: int) -> None:
    arch = dit(width=width, heads=1)
    inputs = batch(arch)
    noise = arch.build()(**inputs)
    assert torch.equal(noise, torch.zeros_like(inputs["x"]))


def test_dit_blocks_add_nothing_at_the_start() -> None:
    block = dit().build().get_submodule("blocks.1")
    x, condition = torch.randn(2, 4, 8), torch.randn(2, 8)
    assert torch.equal(block(x, condition), x)


def test_of_the_maps_of_dit_only_modulations_and_the_last_start_at_zero() -> None:
    arch = dit(depth=1)
    state = arch.build().state_dict()
    maps = [name for key, kind in arch.kinds.items() if kind.decays for name in arch.names(key)]
    zero = {name for name in maps if not state[name].any()}
    assert zero == {"blocks.0.modulation.weight", "final.modulation.weight", "final.linear.weight"}


def test_every_patch_starts_with_a_position_of_its_own() -> None:
    table = dit(width=16, img_size=16).build().get_parameter("pos_embed")[0]
    distances = torch.cdist(table, table).fill_diagonal_(torch.inf)
    assert distances.min() > 0.1


def test_dit_predicts_other_noise_for_other_steps_and_classes() -> None:
    arch = dit()
    model, x = arch.assemble(trained(arch)), batch(arch, 1)["x"].expand(6, -1, -1, -1)
    t, y = torch.tensor([0, 1, 500, 999, 0, 0]), torch.tensor([0, 0, 0, 0, 2, 3])
    predicted = model(x=x, t=t, y=y).flatten(1)
    assert torch.pdist(predicted).min() > 1e-3


def test_dit_blocks_add_nothing_where_what_closes_their_branches_is_zero() -> None:
    arch = dit(depth=1)
    closing = {key: kind for key, kind in arch.kinds.items() if kind.closes_branch}
    zeros = {name: torch.zeros(arch.shape(key)) for key in closing for name in arch.names(key)}
    block = arch.assemble(noise(arch) | zeros).get_submodule("blocks.0")
    x, condition = torch.randn(2, 4, 8), torch.randn(2, 8)
    assert torch.equal(block(x, condition), x)


def test_dit_writes_noise_to_the_patch_that_it_was_read_from() -> None:
    arch = dit(img_size=6)
    closed = [name for key, kind in arch.kinds.items() if kind.closes_branch for name in arch.names(key)]
    model = arch.assemble(trained(arch) | {name: torch.zeros(arch.shapes()[name]) for name in closed})
    inputs = batch(arch, 1)
    touched = inputs | {"x": inputs["x"].index_put((*map(torch.tensor, (0, 1, 3, 4)),), torch.tensor(9.0))}
    moved = (model(**touched) != model(**inputs)).any(1)[0]
    assert moved[2:4, 4:6].all()
    assert moved.sum() == 4


def test_dit_keeps_pixels_in_order_within_a_patch() -> None:
    arch = dit()
    pixels = torch.arange(8.0)
    weights = trained(arch) | {"final.linear.weight": torch.zeros(8, 8), "final.linear.bias": pixels}
    predicted = arch.assemble(weights)(**batch(arch))
    assert torch.equal(predicted, pixels.view(1, 2, 2, 2).repeat(2, 1, 2, 2))


@pytest.mark.parametrize("steps", [1, 7])
def test_sampling_with_the_true_noise_gives_the_image_of_the_class(steps: int) -> None:
    """Of data that are one image a class, the noise is known."""
    images, null = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(1)), 2
    shares = signal()

    def model(x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        share = shares[t].view(-1, 1, 1, 1)
        return (x - share.sqrt() * images[y]) / (1 - share).sqrt()

    noise, y = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(2)), torch.tensor([1, 0])
    assert_close(sample(model, noise, y, null=null, steps=steps, guidance=1.0), images[y], atol=1e-4, rtol=1e-4)
    unguided = sample(model, noise, y, null=null, steps=steps, guidance=0.0)
    assert_close(unguided, images[[null, null]], atol=1e-4, rtol=1e-4)


def test_sampling_runs_a_real_model_and_leaves_it_alone() -> None:
    arch = dit()
    model, noise = arch.assemble(trained(arch)), batch(arch)["x"]
    one, other = (sample(model, noise, torch.tensor(y), null=3, steps=3) for y in ([0, 1], [2, 1]))
    assert one.isfinite().all()
    assert not torch.equal(one[0], other[0])
    assert_close(one[1], other[1])


@pytest.mark.parametrize(
    ("family", "config", "size", "words"),
    [
        ("mlp", {}, Size(depth=1, width=8, heads=2), "size.heads: 2, but family 'mlp' has no attention"),
        ("mlp", {}, Size(depth=1, width=8, mlp=9), "size.mlp: 9, but family 'mlp' has no MLP width"),
        ("mlp", {"features": 5}, Size(depth=1, width=8), "config.features: .* img_size, in_chans, num_classes"),
        ("dit", {}, Size(depth=1, width=8), "size.heads: missing; family 'dit' has attention"),
        ("dit", {"img_size": 8, "patch_size": 3}, Size(depth=1, width=8, heads=1), "legal: 1, 2, 4, 8"),
    ],
)
def test_what_the_modules_cannot_be_is_refused(family: str, config: dict[str, Any], size: Size, words: str) -> None:
    with pytest.raises(BadInputError, match=words):
        architecture(family, config, size)
