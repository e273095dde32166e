"""The results on the terminal: one row a start."""

from statistics import mean, median_low

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from pipelines.bench.cells import NEVER, number, ratio
from pipelines.bench.metrics import Line, lines, long_scores, sign
from pipelines.bench.results import Results
from zoo.size import Size


def summary(results: Results) -> Table:
    """One row a start, the best first."""
    table, long, winners = lines(results), long_scores(results), _winners(results)
    shown = Table("start", "sizes", results.metric, "speed-up (median)", "best at", box=SIMPLE_HEAD, title=results.name)
    rows: list[tuple[float, tuple[Text | str, ...]]] = []
    for start in results.starts:
        own = [line for line in table if line.start == start]
        speed = median_low(line.race.speed_up or 0.0 for line in own)
        gap = sign(results.metric) * mean(line.test.mean - long[line.size].mean for line in own)
        score = number(mean(line.test.mean for line in own), results.metric)
        name = Text(start, "bold" if start in results.ours else "")
        won = f"{winners.count(start)} of {len(winners)}"
        rows.append((gap, (name, str(len(own)), score, f"{ratio(speed)} x" if speed else NEVER, won)))
    for _, row in sorted(rows, key=lambda pair: -pair[0]):
        shown.add_row(*row)
    return shown


def _winners(results: Results) -> list[str]:
    """The start with the best mean score at every size."""
    best: dict[Size, Line] = {}
    for line in sorted(lines(results), key=lambda line: sign(results.metric) * line.test.mean):
        best[line.size] = line
    return [line.start for line in best.values()]
