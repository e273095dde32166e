"""`zoo demo`: a recipe from data to registry, then models of four sizes beside the same models from scratch."""

from pathlib import Path

from pipelines.bench.run import Benched, load_bench, run_bench

RECIPE = Path(__file__).parent / "recipes" / "demo.yaml"


def run_demo(out: Path) -> Benched:
    """Run the demo; results go to `out`: report, plots, and a ready model of every size in `ready/<size>/`."""
    return run_bench(load_bench(RECIPE, (), quick=False), out, "local", "zoo demo")
