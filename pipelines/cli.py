"""The `zoo` command line. Only this file is imported for `--help`; verbs import what they need when they run.

Exit codes: 0 done, 2 bad input, 3 not found, 4 integrity, 5 gate refused, 130 interrupted (the same
command goes on from the last checkpoint), 1 anything else.
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.registry_verbs import add_verbs
from zoo.errors import BadInputError, ZooError

if TYPE_CHECKING:
    from pipelines.bench.results import Results
    from pipelines.jobs import JobStatus

INTERRUPTED = 130
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="From one training run to models of any size: build learngenes, find them, make models from them.",
)

data_app = typer.Typer(no_args_is_help=True, help="Shards with an index, for data of any size in any place.")
app.add_typer(data_app, name="data")
add_verbs(app)

RecipePath = Annotated[Path, typer.Argument(help="A recipe (YAML).", show_default=False)]
Sets = Annotated[list[str] | None, typer.Option("--set", help="Override a field: data.path=shards (repeatable).")]
Address = Annotated[str, typer.Option(help="Where: 'local' (embedded Ray), 'auto', or HOST:PORT of a running Ray.")]
RunAddress = Annotated[
    str,
    typer.Option(
        help="Where: 'local' (embedded Ray), 'auto', HOST:PORT of a Ray, or its job server: http(s)://HOST:8265."
    ),
]
JobServer = Annotated[
    str,
    typer.Option(help="The job server of a cluster: http(s)://HOST:8265.", envvar="RAY_API_SERVER_ADDRESS"),
]
LOCAL_JOBS = "http://127.0.0.1:8265"
JobName = Annotated[str, typer.Argument(help="A job, as `zoo status` names it.", show_default=False)]
Profile = Annotated[
    Path | None, typer.Option(help="A file with the resources of stages, which go before those of the recipe.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
Reference = Annotated[
    str, typer.Argument(help="NAME, NAME@alias, NAME:version, or a learngene's folder.", show_default=False)
]


@app.command()
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

    sets = tuple(overrides or ())
    if "://" in address and not address.startswith("ray://"):
        if events:
            raise BadInputError("--events: the job prints them; `zoo logs JOB` shows its log")
        _run_job(verbs.submit_recipe(recipe, sets, profile, address), address, detach=detach, as_json=as_json)
        return
    if detach:
        raise BadInputError(f"--detach: {address!r} is no job server; legal: with --address http(s)://HOST:8265")
    result = verbs.run_recipe(recipe, sets, profile, address, events=events)
    if as_json:
        _print_json(result.to_json())
    elif not events:
        show.answers.print(show.stage_table(result.stages))
        if result.entries:
            show.answers.print(show.entry_table(result.entries))


@app.command()
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

    rows = verbs.plan_recipe(recipe, tuple(overrides or ()), profile, address)
    if as_json:
        _print_json([row.__dict__ for row in rows])
    else:
        show.answers.print(show.stage_table(rows))


@app.command()
def status(
    job: Annotated[str | None, typer.Argument(help="Show the stages of this job.", show_default=False)] = None,
    address: JobServer = LOCAL_JOBS,
    as_json: Json = False,
) -> None:
    """List the jobs that `zoo run --address http(s)://...` has started, or show how the stages of one are.

    Example: zoo status demo-1f2e3d4c --address http://head:8265
    """
    from infra.jobs import Jobs
    from pipelines import jobs, show

    if job is None:
        found = jobs.statuses(Jobs(address))
        if as_json:
            _print_json([each.to_json() for each in found])
        else:
            show.answers.print(show.job_table(found))
        return
    _print_job(jobs.status(Jobs(address), job), as_json=as_json)


@app.command()
def logs(
    job: JobName,
    address: JobServer = LOCAL_JOBS,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on till the job ends.")] = False,
) -> None:
    """Print what a job has printed; its events as one line each.

    Example: zoo logs demo-1f2e3d4c -f --address http://head:8265
    """
    from infra.jobs import Jobs
    from pipelines.events import readable

    jobs = Jobs(address)
    for line in jobs.follow(job) if follow else jobs.log(job).splitlines():
        print(readable(line), flush=True)


@app.command()
def cancel(job: JobName, address: JobServer = LOCAL_JOBS, as_json: Json = False) -> None:
    """Stop a job and wait until it has ended; one that has ended already stays as it is. The same recipe resumes.

    Example: zoo cancel demo-1f2e3d4c --address http://head:8265
    """
    from infra.jobs import Jobs
    from pipelines import jobs

    server = Jobs(address)
    server.stop(job)
    _print_job(jobs.status(server, job), as_json=as_json)


@app.command()
def schedule(
    recipe: RecipePath,
    cron: Annotated[str, typer.Option(help="When, in UTC: minute, hour, day of month, month, day of week.")],
    name: Annotated[str | None, typer.Option(help="Of everything it makes [default: the recipe's].")] = None,
    namespace: Annotated[str, typer.Option(help="Where infra/k8s is installed.")] = "zoo",
    image: Annotated[str | None, typer.Option(help="Of infra/docker [default: learngene-zoo:cpu or :cuda].")] = None,
    queue: Annotated[str | None, typer.Option(help="A LocalQueue of Kueue that admits the runs.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the manifests to this file.")] = None,
    overrides: Sets = None,
    as_json: Json = False,
) -> None:
    """Print the Kubernetes manifests that run a recipe on a schedule, on the pods that its stages need.

    Example: zoo schedule pipelines/recipes/vit-cifar10.yaml --cron "0 3 * * 0" --image HOST/learngene-zoo:1 |
    kubectl apply -f -
    """
    from infra.manifests import render
    from pipelines import schedule as schedules
    from pipelines import show

    sets = tuple(overrides or ())
    made = schedules.schedule(recipe, sets, cron, name=name, namespace=namespace, image=image, queue=queue)
    text = json.dumps(made.to_json(), indent=2) + "\n" if as_json else render(made.manifests)
    if out is None:
        print(text, end="")
    else:
        out.write_text(text, encoding="utf-8")
    show.messages.print(f"next: {made.next}; pods: {', '.join(map(str, made.pods))}", highlight=False)


@app.command(name="list")
def list_(
    name: Annotated[str | None, typer.Argument(help="Only versions of this name.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """List the learngenes in the registry.

    Example: zoo list --json
    """
    from pipelines import show
    from registry.entries import list_entries

    entries = list_entries(name)
    if as_json:
        _print_json([entry.to_json() for entry in entries])
    elif entries:
        show.answers.print(show.entry_table(entries))
    else:
        show.messages.print("the registry is empty; `zoo run RECIPE` or `zoo condense` fills it")


@app.command(name="show")
def show_(ref: Reference, as_json: Json = False) -> None:
    """Show one learngene: what it is, which sizes it gives, where it comes from, how good it is.

    Example: zoo show vit-cifar10.weit@champion
    """
    from pipelines import show, verbs

    content = verbs.describe_learngene(ref)
    if as_json:
        _print_json(content)
        return
    evidence = content.pop("evidence", [])
    show.answers.print(show.field_table(content))
    if evidence:
        show.answers.print(show.evidence_table(evidence))


@app.command()
def instantiate(
    ref: Reference,
    depth: Annotated[int, typer.Option(help="Number of blocks.", show_default=False)],
    width: Annotated[int, typer.Option(help="Channels.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder of the ready model.", show_default=False)],
    heads: Annotated[
        int | None, typer.Option(help="Attention heads.", show_default="as wide as the learngene's")
    ] = None,
    mlp: Annotated[int | None, typer.Option(help="MLP hidden units.", show_default="the learngene's ratio")] = None,
    head: Annotated[
        list[str] | None,
        typer.Option(
            help="A new use, with a random head: num_classes=5 (repeatable; YAML values).", show_default=False
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="'digits', 'webdataset:FOLDER' or 'text:PATH': data to fit and score the model on."),
    ] = None,
    fit_steps: Annotated[int, typer.Option(help="Fit the scalers to this size for so many steps.", min=0)] = 0,
    fit_lr: Annotated[float, typer.Option(help="Learning rate of the fit.", min=1e-12)] = 2e-3,
    fit_batch: Annotated[int, typer.Option(help="Batch of the fit.", min=1)] = 128,
    calibrate: Annotated[
        int,
        typer.Option(help="Mend in closed form, on so many training samples, what the change of size upset.", min=0),
    ] = 0,
    seed: Annotated[int, typer.Option(help="Order of the data in the fit, random start of a new head.")] = 0,
    as_json: Json = False,
) -> None:
    """Make a ready model of any legal size, as a folder that timm or transformers load by themselves.

    Example: zoo instantiate vit-cifar10.weit@champion --depth 8 --width 128 --data webdataset:../shared/data/cifar10
    --fit-steps 200 --out ready/
    """
    from pipelines import models, show

    fit = models.Fit(steps=fit_steps, lr=fit_lr, batch=fit_batch, seed=seed, calibrate=calibrate)
    content = models.make_model(ref, (depth, width, heads, mlp), tuple(head or ()), data, fit, out)
    if as_json:
        _print_json(content)
    else:
        show.answers.print(show.field_table(content))


@app.command()
def condense(
    checkpoint: Annotated[Path, typer.Argument(help="A folder of timm or transformers.", show_default=False)],
    name: Annotated[str, typer.Option(help="Register the learngene under this name.", show_default=False)],
    method: Annotated[str, typer.Option(help="A closed-form method.")] = "front",
    overrides: Annotated[list[str] | None, typer.Option("--set", help="An option of the method: keep=0.5.")] = None,
    as_json: Json = False,
) -> None:
    """Make a learngene of trained weights, without training and without a recipe (`zoo methods` lists them).

    Example: zoo condense deit-small/ --method front --set keep=0.5 --name deit.front
    """
    from pipelines import models, show

    entry = models.condense_folder(checkpoint, method, tuple(overrides or ()), name)
    if as_json:
        _print_json(entry.to_json())
    else:
        show.answers.print(show.entry_table([entry]))


@app.command()
def methods(as_json: Json = False) -> None:
    """What every method can do with every family: shrink and grow depth (d- d+) and width (w- w+), or why not.

    Example: zoo methods
    """
    from pipelines import show
    from zoo.capabilities import capabilities

    if as_json:
        _print_json([cell.__dict__ for cell in capabilities()])
    else:
        show.answers.print(*show.capability_table())


@app.command()
def bench(
    recipe: RecipePath,
    out: Annotated[Path | None, typer.Option(help="Folder of the results.", show_default="bench-NAME")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="The smaller bench that the recipe names.")] = False,
    address: Address = "local",
    overrides: Sets = None,
    as_json: Json = False,
) -> None:
    """Compare starts with scratch and with each other, at many sizes: tables, plots, evidence in the registry.

    What was trained once is not trained again; an interrupted bench goes on where it was.

    Example: zoo bench pipelines/recipes/demo.yaml --quick --out bench-digits
    """
    from pipelines.bench.run import command_line, load_bench, run_bench

    sets = tuple(overrides or ())
    loaded = load_bench(recipe, sets, quick=quick)
    folder = out or Path(f"bench-{loaded.name}")
    _print_bench(run_bench(loaded, folder, address, command_line(recipe, sets, quick=quick)), folder, as_json=as_json)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("zoo-demo"),
    as_json: Json = False,
) -> None:
    """All of it on data that ships with the package: build, register, pull, make models, compare with scratch.

    Example: zoo demo --out zoo-demo
    """
    from pipelines.demo import run_demo

    _print_bench(run_demo(out), out, as_json=as_json)


@data_app.command()
def pack(
    source: Annotated[Path, typer.Argument(help="A folder with the parts of the data.", show_default=False)],
    out: Annotated[Path, typer.Option(help="A new folder for shards and index.", show_default=False)],
    train: Annotated[str, typer.Option(help="Which names in SOURCE are training data.")] = "train*",
    test: Annotated[str, typer.Option(help="Which names in SOURCE are test data.")] = "test*",
    shard_mb: Annotated[int, typer.Option(help="About how large a shard becomes (10^6 bytes).", min=1)] = 256,
    image: Annotated[str, typer.Option(help="Parquet: the column of the images.")] = "image",
    label: Annotated[str, typer.Option(help="Parquet: the column of the labels.")] = "label",
    as_json: Json = False,
) -> None:
    """Write shards and `index.json` from folders of images by class, Parquet tables, text files or tar shards.

    The same source gives the same bytes. Upload the folder as it is; `data.path` may then be its address.

    Example: zoo data pack imagenet/ --test 'val*' --out shards/
    """
    from pipelines import show
    from trainers.data.pack import Packing, write_packed

    packing = Packing(train, test, shard_mb * 1_000_000, image, label)
    with show.progress_bar("pack") as report:
        index = write_packed(source, out, packing, report)
    content = {"out": str(out), "shards": len(index.shards), "samples": index.samples, "bytes": index.bytes}
    content |= {"classes": index.classes} if index.classes else {}
    if as_json:
        _print_json(content)
    else:
        show.answers.print(show.field_table(content))


@data_app.command()
def check(
    path: Annotated[str, typer.Argument(help="A folder or an address with index.json.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Compare data with their index: every shard is read, every sample decoded. Exit code 4 if anything is wrong.

    Example: zoo data check s3://bucket/shards --json
    """
    from pipelines import show
    from trainers.data.check import check_data

    with show.progress_bar("check") as report:
        checked = check_data(path, report)
    if as_json:
        _print_json(checked.to_json())
    else:
        show.answers.print(show.data_table(checked))
    checked.refuse_wrong()


def main() -> None:
    """The console script."""
    try:
        app()
    except ZooError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except SystemExit as end:
        if end.code == INTERRUPTED:
            print("interrupted; the same command goes on where it was", file=sys.stderr)
        raise


def _run_job(job: str, address: str, *, detach: bool, as_json: bool) -> None:
    from pipelines import show, verbs

    later = f"zoo status {job} --address {address}"
    if detach and as_json:
        _print_json({"job": job, "address": address})
    elif detach:
        show.answers.print(job, highlight=False)
    show.messages.print(f"job {job}; see `{later}`, `zoo logs`, `zoo cancel`", highlight=False)
    if detach:
        return
    try:
        status = verbs.follow_job(job, address)
    except KeyboardInterrupt:
        show.messages.print(f"the job goes on; see `{later}`", highlight=False)
        raise
    _print_job(status, as_json=as_json)
    if status.state != "done":
        raise SystemExit(status.exit_code or 1)


def _print_job(job: "JobStatus", *, as_json: bool) -> None:
    from pipelines import show

    if as_json:
        _print_json(job.to_json())
        return
    show.answers.print(show.job_table([job]), show.stage_table(job.stages))
    if job.error:
        show.messages.print(f"{job.state}: {job.error}", highlight=False, markup=False)


def _print_bench(results: "Results", folder: Path, *, as_json: bool) -> None:
    from pipelines import show
    from pipelines.bench.summary import summary

    if as_json:
        print(results.model_dump_json(indent=2))
        return
    show.answers.print(summary(results))
    show.messages.print(f"results: {folder}/RESULTS.md, results.json, results.csv and plots", highlight=False)


def _print_json(content: Any) -> None:
    print(json.dumps(content, indent=2, default=str))
