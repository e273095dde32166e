"""What a comparison shows: a table, a list of scores, curves."""

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rich.table import Table

from pipelines.compare import SCRATCH, Result
from zoo.files import write_json

HEAD = ("size", "parameters", "start", "before training", "after", "ahead of scratch")


@dataclass(frozen=True)
class Report:
    """The results of all trials, ordered by size, start and seed."""

    results: list[Result]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One row a trial: `size`, `start`, `seed`, `score` (accuracy on the test split)."""
        return [result.model_dump(include={"size", "start", "seed", "score"}) for result in self.results]

    def groups(self) -> dict[tuple[str, str], list[Result]]:
        """The results of all seeds by (size, start)."""
        return {key: list(group) for key, group in groupby(self.results, lambda r: (r.size, r.start))}

    def best_start(self, size: str) -> str:
        """The learngene with the best mean score at a size."""
        starts = {start: mean(r.score for r in group) for (at, start), group in self.groups().items() if at == size}
        del starts[SCRATCH]
        return max(starts, key=lambda start: starts[start])

    def lines(self) -> list[tuple[str, ...]]:
        """The table's lines as text: mean and standard deviation over the seeds, in percent."""
        groups = self.groups()
        lines: list[tuple[str, ...]] = []
        for (size, start), group in groups.items():
            scores = [r.score for r in group]
            before = mean(r.curve[0][1] for r in group)
            scratch = mean(r.score for r in groups[size, SCRATCH])
            ahead = "" if start == SCRATCH else f"{100 * (mean(scores) - scratch):+.1f}"
            after = f"{100 * mean(scores):.1f} ± {100 * stdev(scores):.1f}"
            lines.append((size, f"{group[0].parameters:,}", start, f"{100 * before:.1f}", after, ahead))
        return lines

    def table(self) -> Table:
        """For the terminal."""
        table = Table(*HEAD, title="accuracy on held-out images, in percent")
        for line in self.lines():
            table.add_row(*line, end_section=line[2] == SCRATCH)
        return table

    def write(self, folder: Path, how: str) -> None:
        """Write `table.md`, `results.json` and `curves.png`; `how` says what was done."""
        head = f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}\n"
        body = "".join(f"| {' | '.join(line)} |\n" for line in self.lines())
        (folder / "table.md").write_text(f"{how}\n\n{head}{body}", encoding="utf-8")
        write_json(folder / "results.json", self.rows)
        self._plot(folder / "curves.png")

    def _plot(self, path: Path) -> None:
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot as plt

        sizes = list(dict.fromkeys(result.size for result in self.results))
        starts = list(dict.fromkeys(result.start for result in self.results))
        colors = {start: "0.5" if start == SCRATCH else f"C{i}" for i, start in enumerate(starts)}
        figure, axes = plt.subplots(1, len(sizes), figsize=(3.2 * len(sizes), 3.4), sharey=True, squeeze=False)
        for axis, size in zip(axes[0], sizes, strict=True):
            for start in starts:
                runs = [[100 * score for _, score in r.curve] for r in self.groups()[size, start]]
                steps = [step for step, _ in self.groups()[size, start][0].curve]
                axis.plot(steps, [mean(at) for at in zip(*runs, strict=True)], color=colors[start], label=start)
                low, high = (
                    [min(at) for at in zip(*runs, strict=True)],
                    [max(at) for at in zip(*runs, strict=True)],
                )
                axis.fill_between(steps, low, high, color=colors[start], alpha=0.2, linewidth=0)
            axis.set(title=f"{size} (depth x width)", xlabel="optimizer step")
            axis.grid(alpha=0.3)
        axes[0][0].set(ylabel="accuracy on held-out images, %", ylim=(0, 100))
        axes[0][-1].legend(frameon=False, loc="upper left", fontsize="small")
        figure.tight_layout()
        figure.savefig(path, dpi=150)
        plt.close(figure)
