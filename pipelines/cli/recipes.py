"""The verbs about recipes: run, plan, schedule, bench, demo."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.jobs import run_job
from pipelines.cli.options import Address, Json, Profile, RecipePath, Sets, print_json
from zoo.errors import BadInputError

if TYPE_CHECKING:
    from pipelines.bench.run import Benched

RunAddress = Annotated[
    str,
    typer.Option(
        help="Where: 'local' (embedded Ray), 'auto', HOST:PORT of a Ray, or its job server: http(s)://HOST:8265."
    ),
]


def run(
    recipe: RecipePath,
    address: RunAddress = "local",
    profile: Profile = None,
    overrides: Sets = None,
    detach: Annotated[bool, typer.Option("--detach", help="Only with a job server: do not wait for the end.")] = False,
    events: Annotated[bool, typer.Option("--events", help="Print every change as a JSON line, for programs.")] = False,
    as_json: Json = False,
) -> None:
    """Build what a recipe names: run what is not done yet, resume what was cut off, register the results.

    Through a job server the run is a job of the cluster, which goes on without you: Ctrl-C only stops the watching. Its
    store is in the ZOO_HOME of the cluster's nodes, which all of them must share; paths in the recipe begin with / and
    are there on all nodes, or are addresses (s3://). {folder: ...} and tokenizers must be readable here, too.

    Example: zoo run pipelines/recipes/vit-cifar10.yaml --set data.path=../shared/data/cifar10
    """
    from pipelines import show, verbs
    from pipelines.show.stages import stage_table

    if events and as_json:
        raise BadInputError("--events: its lines are JSON already, the last one says how it ended; leave out --json")
    sets = tuple(overrides or ())
    if "://" in address and not address.startswith("ray://"):
        if events:
            raise BadInputError("--events: the job prints them; `zoo logs JOB` shows its log")
        run_job(verbs.submit_recipe(recipe, sets, profile, address), address, detach=detach, as_json=as_json)
        return
    if detach:
        raise BadInputError(f"--detach: {address!r} is no job server; legal: with --address http(s)://HOST:8265")
    result = verbs.run_recipe(recipe, sets, profile, address, events=events)
    if as_json:
        print_json(result.to_json())
    elif not events:
        show.answers.print(stage_table(result.stages))
        if result.entries:
            show.answers.print(show.entry_table(result.entries))
        for text in result.waiting:
            show.messages.print(text, highlight=False)


def plan(
    recipe: RecipePath,
    address: Annotated[
        str | None, typer.Option(help="Also ask this cluster ('auto', HOST:PORT) whether it could hold all stages.")
    ] = None,
    profile: Profile = None,
    overrides: Sets = None,
    as_json: Json = False,
) -> None:
    """Show what `zoo run` would do: which stages are cached, which would run or resume, which another run does.

    Example: zoo plan pipelines/recipes/demo.yaml --set stages.weit.train.lr=0.002
    """
    from pipelines import show, verbs
    from pipelines.show.stages import stage_table

    rows = verbs.plan_recipe(recipe, tuple(overrides or ()), profile, address)
    if as_json:
        print_json([row.__dict__ for row in rows])
    else:
        show.answers.print(stage_table(rows))


def schedule(
    recipe: RecipePath,
    cron: Annotated[str, typer.Option(help="When, in UTC: minute, hour, day of month, month, day of week.")],
    name: Annotated[str | None, typer.Option(help="Of everything it makes [default: the recipe's].")] = None,
    namespace: Annotated[str, typer.Option(help="Where infra/k8s is installed.")] = "zoo",
    image: Annotated[str | None, typer.Option(help="Of infra/docker [default: learngene-zoo:cpu or :cuda].")] = None,
    queue: Annotated[str | None, typer.Option(help="A LocalQueue of Kueue that admits the runs.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the manifests to this file.")] = None,
    profile: Profile = None,
    overrides: Sets = None,
    as_json: Json = False,
) -> None:
    """Print the Kubernetes manifests that run a recipe on a schedule, on the pods that its stages need.

    Example: zoo schedule pipelines/recipes/vit-cifar10.yaml --cron "0 3 * * 0" --image HOST/learngene-zoo:1 |
    kubectl apply -f -
    """
    from infra.manifests import render
    from pipelines import show
    from pipelines.run.schedule import schedule as scheduled

    sets = tuple(overrides or ())
    made = scheduled(recipe, sets, cron, profile=profile, name=name, namespace=namespace, image=image, queue=queue)
    text = json.dumps(made.to_json(), indent=2) + "\n" if as_json else render(made.manifests)
    if out is None:
        print(text, end="")
    else:
        out.write_text(text, encoding="utf-8")
    show.messages.print(f"next: {made.next}; pods: {', '.join(map(str, made.pods))}", highlight=False)


def bench(
    recipe: RecipePath,
    out: Annotated[Path | None, typer.Option(help="Folder of the results.", show_default="bench-NAME")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="The smaller bench that the recipe names.")] = False,
    address: Address = "local",
    profile: Profile = None,
    overrides: Sets = None,
    as_json: Json = False,
) -> None:
    """Compare starts with scratch and with each other, at many sizes: tables, plots, evidence in the registry.

    What was trained once is not trained again; an interrupted bench goes on where it was. Where `register` has a gate
    that asks for this bench, the candidate becomes the champion, or the exit code is 5 (the results are there).

    Example: zoo bench pipelines/recipes/demo.yaml --quick --out bench-digits
    """
    from pipelines.bench.run import command_line, load_bench, run_bench

    sets = tuple(overrides or ())
    loaded = load_bench(recipe, sets, profile, quick=quick)
    folder = out or Path(f"bench-{loaded.name}")
    _print_bench(run_bench(loaded, folder, address, command_line(recipe, sets, quick=quick)), folder, as_json=as_json)


def demo(
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("zoo-demo"),
    as_json: Json = False,
) -> None:
    """All of it on data that ships with the package: build, register, pull, make models, compare with scratch.

    Example: zoo demo --out zoo-demo
    """
    from pipelines.demo import run_demo

    _print_bench(run_demo(out), out, as_json=as_json)


def _print_bench(done: "Benched", folder: Path, *, as_json: bool) -> None:
    from pipelines import show
    from pipelines.bench.summary import summary

    if as_json:
        print(done.results.model_dump_json(indent=2))
    else:
        show.answers.print(summary(done.results))
        show.messages.print(f"results: {folder}/RESULTS.md, results.json, results.csv and plots", highlight=False)
    for entry in done.judged.promoted:
        show.messages.print(f"{entry.ref} is the champion now", highlight=False)
    done.judged.raise_if_refused()
