"""The verbs that ask the registry and change what it says: find, solve, promote, rollback, history."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pipelines.cli.options import Json, print_json
from zoo.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry import Page
    from zoo.solve import Fill, Sizes

MaxParams = Annotated[str | None, typer.Option(help="Trainable numbers at most: 6M, 800K.", show_default=False)]
MaxFlops = Annotated[
    str | None, typer.Option(help="FLOPs of one pass of one sample at most: 1.2G.", show_default=False)
]
MaxLatency = Annotated[
    str | None, typer.Option(help="Time of one such pass on this machine at most: 5ms.", show_default=False)
]
Reason = Annotated[str, typer.Option(help="Why; the history keeps it.")]


def find(
    family: Annotated[str | None, typer.Option(help="vit, resnet, bert ...", show_default=False)] = None,
    method: Annotated[str | None, typer.Option(help="front, weit ...", show_default=False)] = None,
    task: Annotated[
        str | None, typer.Option(help="A word of the recipe's or a bench's name, or the tag task.", show_default=False)
    ] = None,
    alias: Annotated[str | None, typer.Option(help="Only what has this alias: champion.", show_default=False)] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Only with this tag: team=edge (repeatable).")] = None,
    max_params: MaxParams = None,
    max_flops: MaxFlops = None,
    max_latency: MaxLatency = None,
    size: Annotated[str | None, typer.Option(help="This size, DEPTHxWIDTH, and no other.", show_default=False)] = None,
    metric: Annotated[
        str | None, typer.Option(help="Only evidence of this score: accuracy, eval_loss.", show_default=False)
    ] = None,
    order_by: Annotated[
        Literal["speedup", "metric", "fill", "newest"],
        typer.Option(help="speedup, metric, fill (of the budget) or newest."),
    ] = "speedup",
    limit: Annotated[int, typer.Option(help="Answers on a page.", min=1, max=1000)] = 20,
    page: Annotated[int, typer.Option(help="Which page.", min=1)] = 1,
    explain: Annotated[bool, typer.Option("--explain", help="Say which one the evidence favours, and why.")] = False,
    as_json: Json = False,
) -> None:
    """Find learngenes, and the size that fills a budget best; the best evidence comes first.

    Example: zoo find --family vit --task cifar10 --max-params 6M --max-flops 1G --order-by speedup --explain
    """
    from pipelines import show
    from pipelines.show.registry import found_table
    from registry.explain import explain as why
    from registry.search import find as ask
    from zoo.budget import parse_count, parse_seconds

    asked = {
        "family": family,
        "method": method,
        "task": task,
        "alias": alias,
        "tags": dict(_pair(text) for text in tag or []),
        "max_params": None if max_params is None else parse_count(max_params, "--max-params"),
        "max_flops": None if max_flops is None else parse_count(max_flops, "--max-flops"),
        "max_latency": None if max_latency is None else parse_seconds(max_latency, "--max-latency"),
        "size": None if size is None else _size(size),
        "metric": metric,
        "order_by": order_by,
        "limit": limit,
        "page": page,
    }
    answer = _ask(ask, asked)
    if as_json:
        print_json(answer.to_json() | ({"explain": why(answer)} if explain else {}))
        return
    if not answer.found:
        show.messages.print("nothing answers this; ask for less, or see `zoo list`")
        return
    show.answers.print(found_table(answer))
    if explain:
        show.answers.print("\n".join(why(answer)), highlight=False)
    _say_pages(answer)


def solve(
    ref: Annotated[
        str, typer.Argument(help="NAME, NAME@alias, NAME:version, or a learngene's folder.", show_default=False)
    ],
    max_params: MaxParams = None,
    max_flops: MaxFlops = None,
    max_latency: MaxLatency = None,
    limit: Annotated[int, typer.Option(help="Sizes in the answer.", min=1)] = 5,
    within: Annotated[
        float, typer.Option(help="How far width to depth may be from the learngene's own proportion.", min=1)
    ] = 4.0,
    as_json: Json = False,
) -> None:
    """Show which legal sizes of a learngene fill a budget best: the most parameters (or FLOPs) below it first.

    Example: zoo solve vit-cifar10.weit@champion --max-params 6M --max-flops 1G
    """
    from pipelines import show
    from pipelines.show.registry import fill_table
    from zoo.api import locate
    from zoo.budget import parse_count, parse_seconds
    from zoo.families import architecture
    from zoo.manifest import read_manifest
    from zoo.solve import Budget, Sizes

    budget = Budget(
        parameters=None if max_params is None else parse_count(max_params, "--max-params"),
        flops=None if max_flops is None else parse_count(max_flops, "--max-flops"),
        latency=None if max_latency is None else parse_seconds(max_latency, "--max-latency"),
    )
    manifest = read_manifest(locate(ref))
    source = architecture(manifest.family, manifest.config, manifest.size)
    fills = _fills(Sizes(source, manifest.legal, within), budget, limit)
    if as_json:
        print_json([fill.model_dump(mode="json") for fill in fills])
    else:
        show.answers.print(fill_table(fills))


def promote(
    ref: Annotated[str, typer.Argument(help="NAME:VERSION or NAME@alias.", show_default=False)],
    gate: Annotated[
        Path | None, typer.Option(help="A gate (YAML) beside that of the recipe.", show_default=False)
    ] = None,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Make a version the champion, if its gates let it (exit code 5 if not); the champion before is `previous`.

    Example: zoo promote vit-cifar10.weit:3 --gate gate.yaml --reason "new data"
    """
    from pipelines.recipe.gate_file import load_gate
    from registry.promote import promote as make_champion

    _print_entry(make_champion(ref, load_gate(gate) if gate else None, reason), as_json=as_json)


def rollback(
    name: Annotated[str, typer.Argument(help="NAME.", show_default=False)], reason: Reason = "", as_json: Json = False
) -> None:
    """Make the champion before this one the champion again.

    Example: zoo rollback vit-cifar10.weit --reason "worse on phones"
    """
    from registry.promote import rollback as go_back

    _print_entry(go_back(name, reason), as_json=as_json)


def history(name: Annotated[str, typer.Argument(help="NAME.", show_default=False)], as_json: Json = False) -> None:
    """Show who promoted what, when, and what the gates said; the oldest first.

    Example: zoo history vit-cifar10.weit --json
    """
    from pipelines import show
    from pipelines.show.registry import history_table
    from registry.promote import history as events_of

    events = events_of(name)
    if as_json:
        print_json([event.to_json() for event in events])
    elif not events:
        show.messages.print(f"{name} has no history: nothing of it was promoted, refused or rolled back")
    else:
        show.answers.print(history_table(events))


def _fills(sizes: "Sizes", budget: Any, limit: int) -> "list[Fill]":
    from zoo.latency import Cpu, solve_within
    from zoo.solve import fullest

    if budget.latency is None:
        return fullest(sizes, budget, limit)
    found = solve_within(sizes, budget, Cpu.here(), limit)
    if not found:
        raise BadInputError(
            f"--max-latency: no legal size in the budget takes at most {budget.latency * 1000:g} ms here"
        )
    return found


def _ask(find: "Callable[..., Page]", asked: dict[str, Any]) -> "Page":
    """The answer; what is wrong is called by its option, and a page that is not there is wrong."""
    try:
        answer = find(**asked)
    except BadInputError as error:
        raise BadInputError(re.sub(r"`(\w+)`", lambda name: f"--{name[1].replace('_', '-')}", str(error))) from error
    if answer.total and not answer.found:
        raise BadInputError(f"--page: {answer.page}; the answer has {-(-answer.total // answer.limit)}")
    return answer


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise BadInputError(f"--tag: {text!r} is not legal; legal is KEY=VALUE")
    return key, value


def _size(text: str) -> tuple[int, int]:
    depth, by, width = text.partition("x")
    if not by or not depth.isdecimal() or not width.isdecimal():
        raise BadInputError(f"--size: {text!r} is not legal; legal is DEPTHxWIDTH, as 8x192")
    return int(depth), int(width)


def _say_pages(answer: "Page") -> None:
    from pipelines import show

    if answer.total is not None and answer.total > answer.limit:
        pages = -(-answer.total // answer.limit)
        show.messages.print(f"page {answer.page} of {pages}, {answer.total} in all", highlight=False)


def _print_entry(entry: Any, *, as_json: bool) -> None:
    from pipelines import show

    if as_json:
        print_json(entry.to_json())
    else:
        show.answers.print(show.entry_table([entry]))
