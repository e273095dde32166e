"""Sizes: what is legal, what is filled in, and what a user reads when it is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from zoo_samples import few, vit

from zoo.errors import BadInputError
from zoo.methods.front import Front
from zoo.methods.kronecker import Kronecker
from zoo.size import LegalSizes, Range, Size

LEGAL = LegalSizes(width=Range(multiple=32), mlp=Range(multiple=32), head_dim=48, mlp_ratio=4)


def refusal(legal: LegalSizes, depth: int, width: int, heads: int | None = None, mlp: int | None = None) -> str:
    with pytest.raises(BadInputError) as caught:
        legal.size(depth, width, heads, mlp)
    return str(caught.value)


@pytest.mark.parametrize("depth", [0, -1])
def test_depth_must_be_at_least_one(depth: int) -> None:
    assert refusal(LEGAL, depth, 96).startswith(f"depth: {depth} is not legal; it must be at least 1")


@pytest.mark.parametrize(("width", "nearby"), [(100, "96, 128"), (31, "32"), (0, "32"), (-40, "32")])
def test_a_wrong_width_names_the_nearest_legal_ones(width: int, nearby: str) -> None:
    message = refusal(LEGAL, 2, width, heads=1)
    assert message == f"width: {width} is not legal; it must be a multiple of 32; legal values nearby: {nearby}"


def test_without_heads_the_width_must_hold_whole_heads_and_whole_tiles() -> None:
    """Heads of 48 and tiles of 32 meet at 96: 48 and 64 must not be offered."""
    message = refusal(LEGAL, 2, 160)
    assert message.startswith("width: 160 is not legal; it must be a multiple of 96 (heads of 48 channels; --heads H")
    assert message.endswith("legal values nearby: 96, 192")
    assert str(LEGAL) == "depth at least 1, width a multiple of 96"


@few
@given(st.integers(1, 64), st.integers(1, 64), st.integers(1, 300))
def test_the_widths_that_a_refusal_names_are_legal(multiple: int, head_dim: int, width: int) -> None:
    legal = LegalSizes(width=Range(multiple=multiple), head_dim=head_dim, mlp_ratio=4)
    try:
        assert legal.size(1, width).head_dim == head_dim
    except BadInputError as error:
        nearby = str(error).rpartition("legal values nearby: ")[2]
        named = [int(value) for value in nearby.split(", ")]
        assert named
        if "heads of" in str(error):
            assert all(legal.size(1, value).width == value for value in named)
        else:
            assert all(legal.size(1, value, heads=1).width == value for value in named)


def test_what_is_left_out_follows_the_proportions() -> None:
    assert LEGAL.size(3, 192) == Size(depth=3, width=192, heads=4, mlp=768)
    assert LegalSizes(head_dim=4, mlp_ratio=2.5).size(1, 12) == Size(depth=1, width=12, heads=3, mlp=30)


@few
@given(st.integers(1, 40), st.floats(0.01, 8))
def test_a_filled_in_mlp_is_always_legal(tiles: int, ratio: float) -> None:
    legal = LegalSizes(width=Range(multiple=8), mlp=Range(multiple=8), head_dim=8, mlp_ratio=ratio)
    assert legal.size(1, 8 * tiles).mlp % 8 == 0


@pytest.mark.parametrize(
    ("heads", "nearby"), [(7, "3, 4, 6, 8"), (0, "1, 2, 3, 4"), (-2, "1, 2, 3, 4"), (97, "24, 32, 48, 96")]
)
def test_wrong_heads_name_the_nearest_legal_ones(heads: int, nearby: str) -> None:
    message = refusal(LEGAL, 2, 96, heads=heads)
    assert message == f"heads: {heads} does not divide width 96; legal heads nearby: {nearby}"


@pytest.mark.parametrize(("mlp", "nearby"), [(100, "96, 128"), (0, "32")])
def test_a_wrong_mlp_names_the_nearest_legal_ones(mlp: int, nearby: str) -> None:
    message = refusal(LEGAL, 2, 96, mlp=mlp)
    assert message == f"mlp: {mlp} is not legal; it must be a multiple of 32; legal values nearby: {nearby}"


def test_a_method_offers_what_its_tile_and_the_source_allow() -> None:
    source = vit(width=96, heads=3, mlp=240)
    assert Front().legal(source) == LegalSizes(head_dim=32, mlp_ratio=2.5)
    tiles = Range(multiple=16)
    want = LegalSizes(width=tiles, mlp=tiles, head_dim=32, mlp_ratio=2.5, why="tiles of 16")
    assert Kronecker(tile=16).legal(source) == want


def test_a_size_has_an_mlp_of_four_widths_unless_given() -> None:
    assert Size(depth=2, width=12, heads=3).mlp == 48
    assert Size(depth=2, width=12, heads=3, mlp=20).mlp == 20
    assert Size(depth=2, width=12, heads=3).head_dim == 4


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"depth": 0, "width": 12, "heads": 3}, "depth"),
        ({"depth": 1, "width": -12, "heads": 3}, "width"),
        ({"depth": 1, "width": 12, "heads": -1}, "heads"),
        ({"depth": 1, "width": 12, "heads": 5}, "heads: 5 does not divide width 12; legal heads: 1, 2, 3, 4, 6, 12"),
        ({"depth": 1, "width": 12, "heads": 3, "mlp": 0}, "mlp"),
        ({"depth": 1, "width": 12, "heads": 3, "hidden": 24}, "hidden"),
    ],
)
def test_an_impossible_size_is_refused_by_field(numbers: dict[str, int], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Size.model_validate(numbers)
