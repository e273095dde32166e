"""Ray Jobs: a command that a cluster runs for us, whether we stay or not.

This module is what the other rooms see of Ray's job server: submit, list, follow, stop. The command is made of fixed
words; what it works on travels as files. The server's answer about a job's end is only a hint: a job that succeeded may
be called FAILED, so whoever asks reads the log.
"""

import asyncio
import json
import logging
import os
import shlex
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import requests

from infra.session import forget_token, ray_settings
from zoo.errors import BadInputError, NotFoundError

with ray_settings():  # some of them count when Ray is imported, and a private cluster may follow in this process
    from ray.dashboard.modules.job.pydantic_models import JobDetails
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

ANSWER_SECONDS = 10
"""How long the server may take for one answer."""
AWAY_SECONDS = 120
"""How long a follower waits for a server that answers no more, as while a head starts again."""
STOP_SECONDS = 30
"""How long a job may take to end by itself when it is stopped."""
LOOK_EVERY = 0.5
ENDED = ("STOPPED", "SUCCEEDED", "FAILED")
_LABEL = "learngene-zoo"
for _noisy in ("dashboard.modules.dashboard_sdk", "dashboard.modules.job.sdk", "_private.runtime_env.packaging"):
    logging.getLogger(f"ray.{_noisy}").setLevel(logging.WARNING)


@dataclass(frozen=True)
class RayJob:
    """What the server says of a job: its `status` is PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED."""

    id: str
    title: str
    status: str
    message: str
    started: datetime | None
    ended: datetime | None


class Jobs:
    """The jobs of the cluster whose job server answers at `address` (`http(s)://HOST:8265`).

    The token is Ray's (RAY_AUTH_MODE, RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH); RAY_JOB_HEADERS adds headers (JSON), and
    REQUESTS_CA_BUNDLE names the authority of an https address. All methods raise `NotFoundError` within seconds where
    nothing answers, where the server refuses us, and for a job that is not there.
    """

    def __init__(self, address: str) -> None:
        check_url(address)
        self.address = address.rstrip("/")
        headers, verify = _headers(), os.environ.get("REQUESTS_CA_BUNDLE") or True
        forget_token()
        with self._answers(), _without("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
            self._client = _Client(self.address, headers=headers, verify=verify)

    def submit(
        self, name: str, title: str, command: Sequence[str], files: Mapping[str, str], variables: Mapping[str, str]
    ) -> None:
        """Start `command` as job `name` in a folder that holds `files`. `variables` are shown to everybody."""
        with self._answers(), tempfile.TemporaryDirectory(prefix="zoo-job-") as folder:
            for file, text in files.items():
                (Path(folder) / file).write_text(text, encoding="utf-8")
            own = {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS)}
            self._client.submit_job(
                entrypoint=shlex.join(command),
                submission_id=name,
                runtime_env={"working_dir": folder, "env_vars": own | dict(variables)},
                metadata={_LABEL: title},
            )

    def all(self) -> list[RayJob]:
        """Those that `submit` has started, the newest first."""
        with self._answers():
            found = [job for job in self._client.list_jobs() if _LABEL in (job.metadata or {})]
        return sorted(map(_job, found), key=lambda job: str(job.started), reverse=True)

    def one(self, name: str) -> RayJob:
        """What is known of one job."""
        with self._answers(name):
            return _job(self._client.get_job_info(name))

    def log(self, name: str) -> str:
        """All that the job has printed; empty where its node is gone, or where it has not begun."""
        with self._answers(name):
            try:
                return self._client.get_job_logs(name)
            except RuntimeError:
                self._client.get_job_info(name)  # is it the job that is not there, or only its log?
                return ""

    def follow(self, name: str) -> Iterator[str]:
        """The lines of its log as they come, till it ends; goes on where it was when the server was away."""
        self.one(name)
        seen = 0
        while True:
            with suppress(RuntimeError, OSError, aiohttp.ClientError):  # away, perhaps for a moment only
                for number, line in enumerate(_lines(self._client.tail_job_logs(name)), 1):
                    if number > seen:
                        seen = number
                        yield line
            if self._patiently(name).status in ENDED:
                return
            sleep(LOOK_EVERY)

    def _patiently(self, name: str) -> RayJob:
        until = monotonic() + AWAY_SECONDS
        while True:
            try:
                return self.one(name)
            except NotFoundError:
                if monotonic() > until:
                    raise
            sleep(LOOK_EVERY)

    def stop(self, name: str) -> RayJob:
        """End a job, and wait until it has ended; one that has ended already stays as it is."""
        with self._answers(name):
            self._client.stop_job(name)
        until = monotonic() + 2 * STOP_SECONDS
        while (job := self.one(name)).status not in ENDED:
            if monotonic() > until:
                raise RuntimeError(f"job {name} did not end within {2 * STOP_SECONDS} s: {job.message}")
            sleep(LOOK_EVERY)
        return job

    @contextmanager
    def _answers(self, name: str = "") -> Iterator[None]:
        try:
            yield
        except AuthenticationError as error:
            reason = str(error).splitlines()[0]
            raise NotFoundError(
                f"address: {self.address} refuses us: {reason}; it wants RAY_AUTH_MODE=token and the cluster's token"
                " in RAY_AUTH_TOKEN or in the file RAY_AUTH_TOKEN_PATH"
            ) from error
        except (OSError, requests.exceptions.JSONDecodeError, KeyError) as error:  # those of requests are OSErrors
            raise NotFoundError(f"address: no job server of Ray answers at {self.address}: {error}") from error
        except RuntimeError as error:
            if name and " 404" in str(error):
                raise NotFoundError(
                    f"job: there is none {name!r} at {self.address}; `zoo status` lists them"
                ) from error
            raise NotFoundError(f"address: {self.address} does not do it: {error}") from error


class _Client(JobSubmissionClient):
    """Ray's, which would wait for an answer for minutes."""

    def _do_request(self, method: str, endpoint: str, **options: Any) -> requests.Response:
        return super()._do_request(method, endpoint, timeout=ANSWER_SECONDS, **options)


def check_url(address: str) -> None:
    """Raise `BadInputError` unless `address` is `http(s)://HOST:PORT`."""
    try:
        parts = urlsplit(address)
        legal = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        legal = legal and not {"@", "?", "#"} & set(address)
    except ValueError:
        legal = False
    if not legal:
        raise BadInputError(f"address: {address!r} is no job server; legal: http://HOST:8265 and https://HOST:PORT")


def _headers() -> dict[str, str] | None:
    try:
        return json.loads(os.environ.get("RAY_JOB_HEADERS", "null"))
    except ValueError as error:
        raise BadInputError(f"RAY_JOB_HEADERS: not valid JSON: {error}") from error


@contextmanager
def _without(*names: str) -> Iterator[None]:
    """Ray prefers the addresses in these variables to the one that it is told."""
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(before)


def _job(details: JobDetails) -> RayJob:
    start, end = (
        (datetime.fromtimestamp(ms / 1000, UTC) if ms else None) for ms in (details.start_time, details.end_time)
    )
    title = (details.metadata or {}).get(_LABEL, "")
    return RayJob(details.submission_id or "", title, details.status.value, details.message or "", start, end)


def _lines(chunks: AsyncIterator[str]) -> Iterator[str]:
    """Whole lines of what arrives in chunks; in an event loop of our own."""
    rest = ""
    with asyncio.Runner() as runner:
        while (chunk := runner.run(_next(chunks))) is not None:
            *lines, rest = (rest + chunk).split("\n")
            yield from lines
    if rest:
        yield rest


async def _next(chunks: AsyncIterator[str]) -> str | None:
    return await anext(chunks, None)
