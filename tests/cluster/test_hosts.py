"""Hosts in namespaces: they are apart, they can be cut off, and nothing of them is left."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks.faults.hosts import Host, network
from benchmarks.faults.waiting import until

pytestmark = pytest.mark.usefixtures("namespaces")
SECONDS = 60
SERVE = "import socket\ns = socket.create_server(('', 80))\nprint('ready', flush=True)\nwhile True: s.accept()"
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], 80), timeout=1)"


def reaches(host: Host, name: str) -> bool:
    return host.succeeds([sys.executable, "-c", CONNECT, name], {})


def serve(host: Host) -> None:
    server = host.start([sys.executable, "-c", SERVE], {}, "server")
    until(lambda: "ready" in server.said(), "the server", SECONDS, server.hopeless)


def test_hosts_reach_each_other_by_name_until_one_is_cut_off(tmp_path: Path) -> None:
    with network(tmp_path, ["one", "two"]) as (_, hosts):
        serve(hosts["two"])
        assert reaches(hosts["one"], "two")
        hosts["two"].cut_off()
        failed = hosts["one"].start([sys.executable, "-c", CONNECT, "two"], {}, "client")
        assert failed.wait(SECONDS) == 1
        assert "refused" not in failed.said()  # lost, not answered
        hosts["two"].join()
        until(lambda: reaches(hosts["one"], "two"), "the host is back", SECONDS)


def test_hosts_share_a_folder_and_nothing_else(tmp_path: Path) -> None:
    with network(tmp_path, ["one", "two"]) as (shared, hosts):
        hosts["one"].run(["sh", "-c", "echo mine > /srv/local/file; echo ours > /srv/file"], {})
        assert (shared / "file").read_text() == "ours\n"
        assert hosts["two"].run(["sh", "-c", "cat /srv/file; hostname; test ! -e /srv/local/file"], {}) == "ours\ntwo\n"
        sleeper = hosts["one"].start(["sleep", "1000"], {}, "sleep")
        until(lambda: hosts["one"].processes("sleep 1000"), "the process", SECONDS, sleeper.hopeless)
        assert not hosts["two"].processes("sleep 1000")
    assert sleeper.wait(SECONDS) != 0


def test_two_networks_with_the_same_addresses_do_not_meet(tmp_path: Path) -> None:
    with network(tmp_path, ["one"]) as (_, here), network(tmp_path, ["one", "two"]) as (_, there):
        serve(here["one"])
        assert not reaches(there["two"], "one")
        assert here["one"].address == there["one"].address


def test_a_process_that_is_killed_leaves_no_host_behind(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys, signal\nfrom benchmarks.faults.hosts import network\n"
        "with network(pathlib.Path(sys.argv[1]), ['one', 'two']) as (_, hosts):\n"
        "    hosts['one'].start(['sleep', '1000'], {}, 'sleep')\n"
        "    print(hosts['one'].ground, *(host.init for host in hosts.values()), flush=True)\n"
        "    signal.pause()\n"
    )
    links = Path("/sys/class/net").iterdir
    before = (set(links()), list(Path("/srv").iterdir()))
    with subprocess.Popen([sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        inits = [psutil.Process(int(number)) for number in owner.stdout.readline().split()]
        assert len(inits) == 3
        assert all(init.is_running() for init in inits)
        owner.send_signal(signal.SIGKILL)
    until(lambda: not any(init.is_running() for init in inits), "their end", SECONDS)
    assert (set(links()), list(Path("/srv").iterdir())) == before
