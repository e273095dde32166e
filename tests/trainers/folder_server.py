"""A web server for a folder, that fails as told."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any


class FolderServer(ThreadingHTTPServer):
    """Serves `folder` on loopback.

    asked: how often each file was asked for.
    refuse: the status that the next so many requests for a file get; cut: whether they only get half of it instead.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.asked: Counter[str] = Counter()
        self.refuse: dict[str, list[int]] = {}
        self.cut: Counter[str] = Counter()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, request: Any, address: Any, server: FolderServer) -> None:
        self.owner = server
        super().__init__(request, address, server, directory=str(server.folder))

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        self.owner.asked[name] += 1
        if self.owner.refuse.get(name):
            self.send_error(self.owner.refuse[name].pop(0))
        elif self.owner.cut[name]:
            self.owner.cut[name] -= 1
            content = (self.owner.folder / name).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
        else:
            super().do_GET()

    def end_headers(self) -> None:
        """As Apache has it: a `.gz` is called an encoding of something else."""
        if self.path.endswith(".gz"):
            self.send_header("Content-Encoding", "gzip")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def serve(folder: Path) -> Iterator[FolderServer]:
    with FolderServer(folder) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
