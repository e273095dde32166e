"""The transfer as a table and plots: a heat map of each grid, and the large model started both ways."""

from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from zoo.files import write_json


@dataclass(frozen=True)
class Cell:
    """The held-out loss of one learning rate and noise (None: it diverged)."""

    lr: float
    noise: float
    loss: float | None

    def rank(self) -> float:
        """Its loss; of what diverged, infinity."""
        return float("inf") if self.loss is None else self.loss


@dataclass(frozen=True)
class Curve:
    """Held-out losses (step, loss) of the large model from one start."""

    start: str
    seed: int
    points: list[tuple[float, float]]


@dataclass(frozen=True)
class Transfer:
    """Both grids (`small`, `large`), the small pair's choice, FLOPs by stage, the large model's curves."""

    name: str
    sizes: dict[str, str]
    grids: dict[str, list[Cell]]
    best: Cell
    flops: dict[str, float]
    curves: list[Curve]
    conditions: str

    @property
    def transferred(self) -> Cell:
        """What the small pair's choice gives on the large pair."""
        return next(c for c in self.grids["large"] if (c.lr, c.noise) == (self.best.lr, self.best.noise))

    @property
    def saved(self) -> float:
        """FLOPs of tuning on the large pair, over those on the small one and of the narrow model under it."""
        return self.flops["large"] / (self.flops["small"] + self.flops["narrow"])


FILES = ("README.md", "results.json", "grids.png", "curves.png")
"""All that the folder holds."""


def write(transfer: Transfer, folder: Path, command: str) -> None:
    """Write `README.md`, `results.json`, `grids.png` and `curves.png`."""
    write_json(folder / "results.json", asdict(transfer))
    (folder / "README.md").write_text(_markdown(transfer, command), encoding="utf-8")
    _plot_grids(transfer, folder / "grids.png")
    _plot_curves(transfer, folder / "curves.png")


def _markdown(t: Transfer, command: str) -> str:
    own = min(t.grids["large"], key=Cell.rank)
    place = 1 + sum(cell.rank() < t.transferred.rank() for cell in t.grids["large"])
    ends = {start: [c.points[-1][1] for c in t.curves if c.start == start] for start in ("warm", "scratch")}
    rows = [
        ("the small pair's choice", f"learning rate {t.best.lr:g}, noise {t.best.noise:g}", _loss(t.best)),
        ("the same on the large pair", f"place {place} of {len(t.grids['large'])}", _loss(t.transferred)),
        ("the large pair's own choice", f"learning rate {own.lr:g}, noise {own.noise:g}", _loss(own)),
        ("tuning FLOPs, large / small", f"{t.flops['large']:.3g} / {t.flops['small']:.3g}", f"{t.saved:.1f} x saved"),
        *(
            (f"{t.sizes['large']} {start}, {len(losses)} seeds", "at the small pair's choice", _spread(losses))
            for start, losses in ends.items()
        ),
    ]
    head = "| what | | held-out loss |\n|---|---|---|\n"
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    note = "Saved: tuning on the large pair over tuning on the small pair and training the narrow model under it."
    plots = "![loss over learning rate and noise](grids.png)\n\n![the large model, both ways](curves.png)\n"
    return f"# {t.name}\n\n`{command}`\n\n{t.conditions}\n\n{head}{table}\n{note}\n\n{plots}"


def _loss(cell: Cell) -> str:
    return "diverged" if cell.loss is None else f"{cell.loss:.4f}"


def _spread(losses: list[float]) -> str:
    return f"{mean(losses):.4f} ± {stdev(losses):.4f}" if len(losses) > 1 else f"{losses[0]:.4f}"


def _plot_grids(t: Transfer, path: Path) -> None:
    plt = _pyplot()
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    for axis, (name, cells) in zip(axes, t.grids.items(), strict=True):
        rates, noises = sorted({c.lr for c in cells}), sorted({c.noise for c in cells})
        by_place = {(c.noise, c.lr): c for c in cells}
        grid = [[by_place[noise, lr].loss for lr in rates] for noise in noises]
        numbers = [[float("nan") if x is None else x for x in row] for row in grid]
        image = axis.imshow(numbers, origin="lower", aspect="auto", cmap="viridis_r")
        best = min(cells, key=Cell.rank)
        for y, noise in enumerate(noises):
            for x, lr in enumerate(rates):
                cell = by_place[noise, lr]
                text = "div." if cell.loss is None else f"{cell.loss:.3f}"
                bold = "bold" if cell == best else "normal"
                axis.text(x, y, text, ha="center", va="center", fontsize=8, weight=bold, **_halo())
        axis.set_xticks(range(len(rates)), [f"{lr:g}" for lr in rates])
        axis.set_yticks(range(len(noises)), [f"{noise:g}" for noise in noises])
        axis.set(title=f"{name} pair, to {t.sizes[name]} (bold: best)", xlabel="learning rate", ylabel="noise")
        figure.colorbar(image, ax=axis, label="held-out loss")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _plot_curves(t: Transfer, path: Path) -> None:
    plt = _pyplot()
    figure, axis = plt.subplots(figsize=(6, 3.8), layout="constrained")
    for start, color in (("warm", "#0072B2"), ("scratch", "0.5")):
        runs = [curve.points for curve in t.curves if curve.start == start]
        steps = [step for step, _ in runs[0]]
        losses = list(zip(*([loss for _, loss in run] for run in runs), strict=True))
        axis.plot(steps, [mean(at) for at in losses], color=color, label=start)
        axis.fill_between(steps, [min(at) for at in losses], [max(at) for at in losses], color=color, alpha=0.2)
    axis.set(title=f"{t.sizes['large']} at the small pair's choice", xlabel="optimizer step", ylabel="held-out loss")
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _halo() -> dict[str, Any]:
    from matplotlib import patheffects

    return {"path_effects": [patheffects.withStroke(linewidth=2, foreground="white")]}


def _pyplot() -> Any:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    return plt
