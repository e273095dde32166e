"""The verbs about jobs of a cluster: status, logs, cancel; and how a run is watched that is one."""

from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.options import Json, print_json

if TYPE_CHECKING:
    from pipelines.run.jobs import JobStatus

JobServer = Annotated[
    str,
    typer.Option(help="The job server of a cluster: http(s)://HOST:8265.", envvar="RAY_API_SERVER_ADDRESS"),
]
LOCAL_JOBS = "http://127.0.0.1:8265"
JobName = Annotated[str, typer.Argument(help="A job, as `zoo status` names it.", show_default=False)]


def status(
    job: Annotated[str | None, typer.Argument(help="Show the stages of this job.", show_default=False)] = None,
    address: JobServer = LOCAL_JOBS,
    as_json: Json = False,
) -> None:
    """List the jobs that `zoo run --address http(s)://...` has started, or show how the stages of one are.

    Example: zoo status demo-1f2e3d4c --address http://head:8265
    """
    from infra.jobs import Jobs
    from pipelines import show
    from pipelines.run import jobs
    from pipelines.show.stages import job_table

    if job is None:
        found = jobs.statuses(Jobs(address))
        if as_json:
            print_json([each.to_json() for each in found])
        else:
            show.answers.print(job_table(found))
        return
    print_job(jobs.status(Jobs(address), job), as_json=as_json)


def logs(
    job: JobName,
    address: JobServer = LOCAL_JOBS,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on till the job ends.")] = False,
    as_json: Json = False,
) -> None:
    """Print what a job has printed; its events as one line each. With --json every line is a JSON object.

    Example: zoo logs demo-1f2e3d4c -f --address http://head:8265
    """
    from infra.jobs import Jobs
    from pipelines.run.events import as_event, readable

    said = as_event if as_json else readable
    jobs = Jobs(address)
    for line in jobs.follow(job) if follow else jobs.log(job).splitlines():
        print(said(line), flush=True)


def cancel(job: JobName, address: JobServer = LOCAL_JOBS, as_json: Json = False) -> None:
    """Stop a job and wait until it has ended; one that has ended already stays as it is. The same recipe resumes.

    Example: zoo cancel demo-1f2e3d4c --address http://head:8265
    """
    from infra.jobs import Jobs
    from pipelines.run import jobs

    server = Jobs(address)
    server.stop(job)
    print_job(jobs.status(server, job), as_json=as_json)


def run_job(job: str, address: str, *, detach: bool, as_json: bool) -> None:
    """Watch a run that was submitted, to its end and with its exit code; or say only how to do so."""
    from pipelines import show, verbs

    later = f"zoo status {job} --address {address}"
    if detach and as_json:
        print_json({"job": job, "address": address})
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
    print_job(status, as_json=as_json)
    if status.state != "done":
        raise SystemExit(status.exit_code or 1)


def print_job(job: "JobStatus", *, as_json: bool) -> None:
    """Print how a job and its stages are."""
    from pipelines import show
    from pipelines.show.stages import job_table, stage_table

    if as_json:
        print_json(job.to_json())
        return
    show.answers.print(job_table([job]), stage_table(job.stages))
    if job.error:
        show.messages.print(f"{job.state}: {job.error}", highlight=False)
