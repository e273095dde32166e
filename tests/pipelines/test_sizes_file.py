"""`sizes.yaml`: sizes and budgets by name; every mistake names the line, the field and what is legal."""

from pathlib import Path

import pytest

from pipelines.models.sizes_file import load_sizes
from zoo.errors import BadInputError, NotFoundError
from zoo.families import architecture
from zoo.methods.front import Front
from zoo.size import Size
from zoo.solve import Budget, solve

ARCH = architecture(
    "vit", {"img_size": 8, "patch_size": 4, "in_chans": 1, "num_classes": 2}, Size(depth=2, width=16, heads=2, mlp=64)
)
LEGAL = Front().legal(ARCH)


def load(tmp_path: Path, text: str) -> dict[str, Size]:
    path = tmp_path / "sizes.yaml"
    path.write_text(text, encoding="utf-8")
    return load_sizes(path, ARCH, LEGAL)


def test_sizes_are_completed_and_budgets_solved(tmp_path: Path) -> None:
    text = "sizes:\n- {depth: 4, width: 24}\n- {name: edge, max_params: 20K, max_flops: 300000}\n"
    sizes = load(tmp_path, text)
    fullest = solve(ARCH, LEGAL, Budget(parameters=20_000, flops=300_000), limit=1)[0].size
    assert sizes == {"4x24": Size(depth=4, width=24, heads=3, mlp=96), "edge": fullest}


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("sizes: []\n", 1, "sizes: Tuple should have at least 1 item"),
        ("models: []\n", 1, "models: unknown field; legal fields: sizes"),
        ("sizes:\n- {depth: 2, width: 16, depht: 3}\n", 2, "sizes.0.depht: unknown field; legal fields: name, depth"),
        ("sizes:\n- {depth: 2}\n", 2, "give either depth and width"),
        ("sizes:\n- {depth: 2, width: 16}\n- {depth: 2, max_params: 6M}\n", 3, "give either depth and width"),
        ("sizes:\n- {depth: 0, width: 16}\n", 2, "sizes.0.depth: Input should be greater than 0 (got 0)"),
        ("sizes:\n- depth: 2\n  width: 17\n", 2, "width: 17 is not legal"),
        ("sizes:\n- {max_params: 6 apples}\n", 2, "max_params: '6 apples' is not legal"),
        ("sizes:\n- {max_params: 10}\n", 2, "no legal size"),
        ("sizes:\n- {name: a/b, depth: 2, width: 16}\n", 2, "alias 'a/b' is not legal"),
        ("sizes:\n- {name: champion, depth: 2, width: 16}\n", 2, "'champion' is taken"),
        ("sizes:\n- {depth: 2, width: 16}\n- {depth: 2, width: 16, mlp: 7}\n", 3, "'2x16' stands there twice"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    with pytest.raises(BadInputError) as error:
        load(tmp_path, text)
    assert str(error.value).startswith(f"{tmp_path / 'sizes.yaml'}:{line}: ")
    assert message in str(error.value)


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such file of sizes"):
        load_sizes(tmp_path / "none.yaml", ARCH, LEGAL)
