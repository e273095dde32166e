"""Several hosts on one machine: namespaces with addresses, processes, a hostname, a boot id and files of their own.

All of it, the bridge and the shared folder too, lives in unnamed namespaces that the kernel takes back with their last
process, and those processes die with the one that made them. So nothing is left behind whatever happens, and two
networks on one machine do not see each other. Needs root and Linux; `why_not` says what is missing.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from pwd import getpwnam

import psutil

from benchmarks.faults.waiting import until

SHARED = Path("/srv")
"""In every host: the files that all hosts see, in memory."""
STORE = SHARED / "store"
"""In every host: a shared disk of its own, small enough to be filled."""
STORE_MB = 96
LOCAL = SHARED / "local"
"""In every host: files of its own, gone with it."""
SUBNET = "10.77.0"
SECONDS = 30

_TOOLS = ("unshare", "nsenter", "setpriv", "ip", "mount")
_DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL")
# Where the first process ignores SIGCHLD, the kernel itself buries what is orphaned in a host.
_STAY = "echo ready; exec env --ignore-signal=CHLD sleep infinity"
_GROUND = f"""set -e
mount -t tmpfs -o size=1g tmpfs {SHARED}
mkdir {LOCAL} {STORE}
mount -t tmpfs -o size={STORE_MB}m tmpfs {STORE}
ip link add bridge type bridge
ip address add {SUBNET}.1/24 dev bridge
ip link set lo up
ip link set bridge up
{_STAY}"""
_HOST = f"""set -e
mount -t tmpfs -o size=1g tmpfs {LOCAL}
mount -t tmpfs -o size=512m tmpfs /dev/shm
echo "$0" > /proc/sys/kernel/hostname
mount --bind {SHARED}/hosts /etc/hosts
cat /proc/sys/kernel/random/uuid > {LOCAL}/boot_id
mount --bind {LOCAL}/boot_id /proc/sys/kernel/random/boot_id
ip link set lo up
{_STAY}"""


@cache
def why_not() -> str | None:
    """Why there can be no hosts on this machine; None where there can."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        return f"{', '.join(missing)} not found (Debian: iproute2, util-linux)"
    probe = ["unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "ip", "link", "add", "probe", "type"]
    done = subprocess.run([*probe, "bridge"], capture_output=True, text=True, check=False)
    return f"namespaces are not permitted: {done.stderr.strip()}" if done.returncode else None


class Process:
    """A command in a host. Signals reach the command itself, not what let it in there."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as file:
            self._door = subprocess.Popen(
                command, env=env, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
            )

    def ended(self) -> int | None:
        """The exit code, None while it runs."""
        return self._door.poll()

    def wait(self, seconds: float) -> int:
        """The exit code. Raises `GaveUpError`, with what was said last, where it does not end in time."""
        until(lambda: self.ended() is not None, f"the end of {self.said()[-2000:]!r}", seconds)
        return self._door.wait()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the command."""
        for process in psutil.Process(self._door.pid).children():
            process.send_signal(number)

    def said(self) -> str:
        """What it has printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def hopeless(self) -> str | None:
        """A reason to wait for nothing more from it."""
        return None if self.ended() is None else f"it ended with {self.ended()}: {self.said()[-3000:]}"


@dataclass(frozen=True)
class Host:
    """A machine in a `Network`: its own network, processes, hostname, `/dev/shm` and folder `LOCAL`."""

    name: str
    address: str
    init: int
    """Its first process; when that one is killed, the kernel kills all others."""
    ground: int
    """The process that holds the bridge."""
    logs: Path
    started: list[Process] = field(default_factory=list, repr=False)

    def command(self, command: Sequence[str | Path], *, user: str | None = None) -> list[str]:
        """What runs a command in this host, as a user of this machine (root)."""
        door = ["nsenter", "--target", str(self.init), "--net", "--mount", "--pid", "--uts", "--ipc"]
        become = ["setpriv", "--reuid", user, "--regid", str(getpwnam(user).pw_gid), "--clear-groups"] if user else []
        return [*door, *become, *map(str, command)]

    def start(
        self, command: Sequence[str | Path], env: Mapping[str, str], name: str, *, user: str | None = None
    ) -> Process:
        """Start a command; what it prints goes to a file called `name`."""
        log = self.logs / f"{self.name}-{name}.log"
        self.started.append(Process(self.command(command, user=user), {**os.environ, **env}, log))
        return self.started[-1]

    def run(self, command: Sequence[str | Path], env: Mapping[str, str], *, user: str | None = None) -> str:
        """What a command prints. Raises `CalledProcessError` with its words as a note."""
        done = subprocess.run(
            self.command(command, user=user), env={**os.environ, **env}, capture_output=True, text=True, check=False
        )
        try:
            done.check_returncode()
        except subprocess.CalledProcessError as error:
            error.add_note(f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
            raise
        return done.stdout

    def succeeds(self, command: Sequence[str | Path], env: Mapping[str, str], *, user: str | None = None) -> bool:
        """Whether a command ends well."""
        entered = self.command(command, user=user)
        return subprocess.run(entered, env={**os.environ, **env}, capture_output=True, check=False).returncode == 0

    def local(self, path: str = "") -> Path:
        """A file of the host's own, as this process sees it."""
        return Path(f"/proc/{self.init}/root{LOCAL}") / path

    def processes(self, part: str = "") -> list[psutil.Process]:
        """What runs in here with `part` in its command line."""
        found = []
        namespace = Path(f"/proc/{self.init}/ns/pid").readlink()
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                inside = Path(f"/proc/{process.pid}/ns/pid").readlink() == namespace
                if inside and process.pid != self.init and part in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def kill_all(self, part: str = "") -> None:
        """End, as the kernel would, what runs in here with `part` in its command line; returns when it is gone."""
        found = self.processes(part)
        for process in found:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(found, timeout=SECONDS)

    def cut_off(self) -> None:
        """Lose every packet from and to this host; nobody is told."""
        self.bridge("set", "dev", self.name, "nomaster")

    def join(self) -> None:
        """Plug the host in again."""
        self.bridge("set", "dev", self.name, "master", "bridge")

    def bridge(self, *change: str) -> None:
        """Run `ip link` where the bridge is."""
        command = ["nsenter", "--target", str(self.ground), "--net", "ip", "link", *change]
        subprocess.run(command, check=True)


@contextmanager
def network(logs: Path, names: Sequence[str]) -> Iterator[tuple[Path, dict[str, Host]]]:
    """Yield the shared folder, as this process sees it, and the hosts by name; what they print goes to `logs`."""
    addresses = {name: f"{SUBNET}.{number}" for number, name in enumerate(names, start=10)}
    hosts: dict[str, Host] = {}
    with ExitStack() as stack:
        stack.callback(_bury, hosts.values())
        ground = stack.enter_context(_held(["unshare", "--net", "--mount", "sh", "-c", _GROUND]))
        shared = Path(f"/proc/{ground}/root{SHARED}")
        (shared / "hosts").write_text(_names({"localhost": "127.0.0.1", **addresses}), encoding="utf-8")
        for name, address in addresses.items():
            spaces = ["--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc"]
            inside = ["nsenter", "--target", str(ground), "--mount", "unshare", *spaces, "sh", "-c", _HOST, name]
            (init,) = psutil.Process(stack.enter_context(_held(inside))).children()
            hosts[name] = Host(name, address, init.pid, ground, logs)
            _plug_in(hosts[name])
        yield shared, hosts


def _names(addresses: Mapping[str, str]) -> str:
    """For /etc/hosts, also as torch writes addresses: it asks what its peers are called, and no DNS answers here."""
    return "".join(f"{address} {name}\n::ffff:{address} {name}\n" for name, address in addresses.items())


def _bury(hosts: Iterable[Host]) -> None:
    """Collect what died with its host."""
    for host in hosts:
        for process in host.started:
            process.wait(SECONDS)


def _plug_in(host: Host) -> None:
    host.bridge("add", host.name, "type", "veth", "peer", "name", "eth0", "netns", str(host.init))
    host.bridge("set", host.name, "up")
    host.join()
    host.run(["ip", "address", "add", f"{host.address}/24", "dev", "eth0"], {})
    host.run(["ip", "link", "set", "eth0", "up"], {})
    # Nothing answers there, but a host without a way out does not know its own address.
    host.run(["ip", "route", "add", "default", "via", f"{SUBNET}.1"], {})


@contextmanager
def _held(command: Sequence[str]) -> Iterator[int]:
    """Yield the number of the process that holds new namespaces; they end with the block, or with us."""
    holder = subprocess.Popen([*_DIES_WITH_US, *command], stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert holder.stdout
        ready = holder.stdout.readline()
        assert ready == "ready\n", f"{command[:4]}: no namespaces"
        yield holder.pid
    finally:
        holder.kill()
        holder.wait()
        if holder.stdout:
            holder.stdout.close()
