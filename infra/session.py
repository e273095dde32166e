"""One connection of this process to Ray: a private cluster inside it, or one that runs already.

This module owns Ray's settings, its start and its end. A private cluster listens on loopback only, asks for a
token that never touches the disk, reports nothing to anybody, and leaves no process and no file behind.
"""

import logging
import os
import secrets
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from zoo.errors import BadInputError, NotFoundError

FORWARDED = ("DS_ACCELERATOR", "HF_HUB_OFFLINE", "ZOO_HOME")
"""Variables that workers on other machines get too, so none with a secret: Ray shows and logs them.

Workers of a private cluster inherit all variables.
"""

REACH_SECONDS = 5

_SETTINGS = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths of a recipe mean the same in a group as in a task
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # workers' deaths are reported by us, not printed into a live table
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # `uv run` would upload the working directory
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # else Ray replaces 127.0.0.1 by a reachable address
    "RAY_OVERRIDE_JOB_RUNTIME_ENV": "1",  # inside a Ray job, variables are given a second time
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # the end of a group is noticed by polling; the default is 2 s
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600",  # how long a group waits for a busy cluster, per attempt
    "RAY_USAGE_STATS_ENABLED": "0",
}
_PRIVATE_SETTINGS = _SETTINGS | {
    "GLOO_SOCKET_IFNAME": "lo",  # the workers of a group talk through sockets of their own
    "NCCL_SOCKET_IFNAME": "lo",
    "RAY_AUTH_MODE": "token",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # one process less; nobody drains a private cluster
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_prestart_worker_first_driver": "0",  # idle workers, one per CPU, that a group cannot use
}
# Not $TMPDIR: the name of a socket may have 107 bytes, and Ray needs most of them. `mkdtemp` makes a folder of our own.
_FOLDER, _PREFIX = Path("/tmp"), "zoo-ray-"  # noqa: S108 - see above
_OBJECT_STORE_BYTES = 256 * 2**20  # results travel in files, so Ray's default of 30 % of the memory is not needed


@contextmanager
def private_cluster(cpus: int | None) -> Iterator[Path]:
    """Start Ray for this process alone; `cpus` defaults to the machine's. Stops it and removes its files.

    Yields the folder of those files, which only this user can read.
    """
    _sweep()
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=_FOLDER))
    try:
        with (
            _settings(_PRIVATE_SETTINGS | {"RAY_AUTH_TOKEN": secrets.token_hex(32)}),
            _ray(
                address="local",
                num_cpus=cpus,
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES,
                _node_ip_address="127.0.0.1",
                _temp_dir=f"{folder}/r",  # one level down, for Ray opens its folder to all users
            ),
        ):
            _check_loopback()
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep() -> None:
    """Remove what killed processes left; everything else cleans up behind itself."""
    for folder in _FOLDER.glob(f"{_PREFIX}*-*"):
        pid = folder.name.removeprefix(_PREFIX).split("-")[0]
        if pid.isdecimal() and not _is_alive(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


@contextmanager
def running_cluster(address: str) -> Iterator[None]:
    """Attach to the Ray at `address` (`auto`, `host:port`, `ray://host:port`); never start one.

    Raises `BadInputError` where the address is none, `NotFoundError` within seconds where nothing answers.
    """
    with _settings(_SETTINGS):
        found = _find() if address == "auto" else address
        check_address(found)
        _reach(found)
        variables = {name: os.environ[name] for name in FORWARDED if name in os.environ}
        with _ray(address=address, runtime_env={"env_vars": variables}):
            yield


def check_address(address: str) -> None:
    """Raise `BadInputError` unless `address` is `host:port` or `ray://host:port`."""
    endpoint = address.removeprefix("ray://")
    try:
        parts = urlsplit(f"//{endpoint}")
        legal = parts.netloc == endpoint and bool(parts.hostname) and parts.port is not None and "@" not in endpoint
    except ValueError:  # a port that is no number below 65536
        legal = False
    if not legal:
        raise BadInputError(
            f"address: {address!r} is not an address of Ray; legal: 'local', 'auto', 'host:port', 'ray://host:port'"
        )


@contextmanager
def _ray(**options: Any) -> Iterator[None]:
    import ray
    import ray.exceptions

    with signals_restored():
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
        except (ConnectionError, ray.exceptions.AuthenticationError) as error:
            raise NotFoundError(f"address: Ray at {options['address']!r} refuses us: {error}") from error
        try:
            yield
        finally:
            ray.shutdown()


def _find() -> str:
    from ray._private.services import get_ray_address_from_environment

    try:
        return get_ray_address_from_environment("auto", None)
    except ConnectionError as error:
        raise NotFoundError(
            "address: 'auto' found no running Ray on this machine, and RAY_ADDRESS is not set"
        ) from error


def _reach(address: str) -> None:
    """One call of any gRPC method: `ray.init` itself would try a dead address for minutes."""
    import grpc
    from ray._private.grpc_utils import init_grpc_channel

    with closing(init_grpc_channel(address.removeprefix("ray://"))) as channel:
        try:
            channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=REACH_SECONDS)
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise NotFoundError(f"address: no Ray answers at {address!r}: {error.details()}") from error


def _check_loopback() -> None:
    import ray.util

    if (address := ray.util.get_node_ip_address()) != "127.0.0.1":
        raise RuntimeError(f"Ray listens on {address}: ray was imported before `connect` could bind it to loopback")


def ray_settings() -> AbstractContextManager[None]:
    """Inside, Ray finds the settings that all our connections share."""
    return _settings(_SETTINGS)


@contextmanager
def _settings(values: dict[str, str]) -> Iterator[None]:
    """Ray takes most settings from the environment, some of them when it is imported.

    Of authentication it remembers the first connection of a process; the next cluster may want another token.
    """
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        forget_token()
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def forget_token() -> None:
    """Let Ray look again how it is to authenticate itself."""
    from ray._private.authentication_test_utils import reset_auth_token_state

    reset_auth_token_state()


@contextmanager
def signals_restored() -> Iterator[None]:
    """Ray replaces the handlers of SIGTERM (`init`) and SIGINT (`fit`) and does not give them back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
