"""Solving: the counts of all sizes are the closed forms', and nothing legal fills a budget better than the answer."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoo.architecture import Architecture
from zoo.budget import count_text, parse_count, parse_seconds
from zoo.counts import Counts
from zoo.errors import BadInputError
from zoo.families import architecture
from zoo.latency import Cpu, latency, solve_within
from zoo.methods.hypercloning import HyperCloning
from zoo.methods.selection import Selection
from zoo.size import LegalSizes, Range, Size
from zoo.solve import Budget, Sizes, solve

SOURCES: dict[str, tuple[dict[str, Any], Size]] = {
    "vit": ({"img_size": 8, "patch_size": 4}, Size(depth=3, width=16, heads=2, mlp=40)),
    "resnet": ({"img_size": 32}, Size(depth=8, width=8)),
    "convnext": ({"img_size": 32}, Size(depth=6, width=8)),
    "bert": ({"vocab_size": 50, "max_length": 16}, Size(depth=2, width=16, heads=4)),
    "roberta": ({"vocab_size": 50, "max_length": 16, "pad_token_id": 1}, Size(depth=2, width=16, heads=4)),
    "gpt2": ({"vocab_size": 50, "max_length": 16}, Size(depth=2, width=16, heads=4)),
    "mlp": ({"img_size": 8}, Size(depth=2, width=16)),
    "dit": ({"img_size": 8}, Size(depth=2, width=16, heads=2, mlp=24)),
}


def source(family: str) -> Architecture:
    config, size = SOURCES[family]
    return architecture(family, config, size)


@pytest.mark.parametrize("family", SOURCES)
def test_counts_of_many_sizes_are_those_of_every_single_one(family: str) -> None:
    arch = source(family)
    dim, least = arch.size.head_dim, arch.legal.depth.min
    depths = [*range(least, least + 7), least + 19]
    sizes = [
        Size(depth=depth, width=width, heads=width // dim if dim else 0, mlp=mlp if arch.family.mlp else 4 * width)
        for depth, width, mlp in product(depths, (16, 48, 80), (1, 37))
    ]
    columns = [np.array([getattr(size, name) for size in sizes]) for name in ("depth", "width", "mlp")]
    counts = Counts(arch)
    assert counts.parameters(*columns).tolist() == [arch.at(size).parameters() for size in sizes]
    assert counts.flops(*columns).tolist() == [arch.at(size).flops() for size in sizes]


@pytest.mark.parametrize("family", ["vit", "mlp"])
@pytest.mark.parametrize(
    "budget", [Budget(parameters=60_000), Budget(parameters=60_000, flops=10**5), Budget(flops=10**5)]
)
def test_no_legal_size_fills_the_budget_better(family: str, budget: Budget) -> None:
    arch = source(family)
    own, every = arch.size, []
    for depth, width in product(range(1, 60), range(1, 120)):
        if (
            depth in arch.legal.depth
            and width in arch.legal.default_width
            and own.width / 4 <= width * own.depth / depth <= own.width * 4
        ):
            every.append(arch.at(arch.legal.size(depth, width)))
    fitting = [
        (model.parameters(), model.flops())
        for model in every
        if model.parameters() <= (budget.parameters or 10**18) and model.flops() <= (budget.flops or 10**18)
    ]
    by_what = 0 if budget.parameters else 1
    wanted = sorted((counts[by_what] for counts in fitting), reverse=True)[:5]
    found = solve(arch, arch.legal, budget, limit=5)
    assert [(fill.parameters, fill.flops)[by_what] for fill in found] == wanted
    for fill in found:
        model = arch.at(fill.size)
        assert (fill.parameters, fill.flops) == (model.parameters(), model.flops())
        assert fill.of_parameters == (budget.parameters and fill.parameters / budget.parameters)


def test_a_method_that_keeps_the_depth_or_only_shrinks_has_an_end() -> None:
    arch = source("vit")
    (grown, *_) = solve(arch, HyperCloning().legal(arch), Budget(parameters=10**9))
    assert (grown.size.depth, grown.size.width % 16) == (3, 0)
    (shrunk, *_) = solve(arch, Selection().legal(arch), Budget(parameters=10**9))
    assert shrunk.size == arch.size


def test_what_cannot_be_is_refused_with_the_smallest_size() -> None:
    arch = source("vit")
    with pytest.raises(BadInputError, match=r"no legal size .* has at most parameters 100; the smallest, 1x8, has"):
        solve(arch, arch.legal, Budget(parameters=100))
    with pytest.raises(BadInputError, match="give --max-params or --max-flops"):
        solve(arch, arch.legal, Budget())
    narrow = LegalSizes(depth=Range(min=40, max=40), width=Range(max=16), head_dim=8, mlp_ratio=2.5)
    with pytest.raises(BadInputError, match="within: 4 leaves no size of depth 40"):
        solve(arch, narrow, Budget(parameters=10**6))


@pytest.mark.parametrize(
    ("text", "value"), [("6M", 6_000_000), ("1.2G", 1_200_000_000), ("7", 7), ("12.5K", 12_500), ("1T", 10**12)]
)
def test_budgets_are_numbers_with_a_unit(text: str, value: int) -> None:
    assert parse_count(text, "max-params") == value


@pytest.mark.parametrize("text", ["", "6m", "6 M", "-1", "0", "1.5", "6MB", "1e6", "inf", "0.0001K", "٣M"])
def test_anything_else_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadInputError, match=r"max-params: .* is not legal; legal are whole numbers"):
        parse_count(text, "max-params")


def test_times_need_a_unit() -> None:
    assert [parse_seconds(text, "t") for text in ("5ms", "800us", "1.5s")] == [0.005, 0.0008, 1.5]
    for text in ("5", "0ms", "5m", "-1s"):
        with pytest.raises(BadInputError, match=r"t: .* is not legal; legal are times"):
            parse_seconds(text, "t")


def test_counts_are_short_for_people() -> None:
    assert [count_text(n) for n in (999, 5_910_000, 1_200_000_000, 999_900)] == ["999", "5.91M", "1.2G", "1000K"]


def test_a_latency_is_measured_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, one_thread: None) -> None:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    arch = source("vit")
    seconds = latency(arch, Cpu.here())
    assert 0 < seconds < 10
    monkeypatch.setattr(Architecture, "build", None)  # nothing can be measured any more
    assert latency(arch, Cpu.here()) == seconds


@pytest.mark.parametrize("family", SOURCES)
def test_every_family_can_be_timed(family: str, one_thread: None) -> None:
    assert latency(source(family), Cpu.here()) > 0


def test_a_latency_budget_gives_sizes_that_were_measured_within_it(one_thread: None) -> None:
    arch = source("mlp")
    here, budget = Cpu.here(), Budget(parameters=20_000, latency=60.0)
    found = solve_within(Sizes(arch, arch.legal), budget, here, 2)
    assert [fill.size for fill in found] == [fill.size for fill in solve(arch, arch.legal, budget, 2)]
    assert all(fill.latency == latency(arch.at(fill.size), here) for fill in found)
    assert solve_within(Sizes(arch, arch.legal), Budget(parameters=20_000, latency=1e-9), here, 2) == []
