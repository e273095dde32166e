"""The cache of a node: what is made once of some content, by the first process that needs it."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from zoo.errors import IntegrityError
from zoo.files import atomic_folder, digest_json, home


def cached(shelf: str, content: Any, write: Callable[[Path], None]) -> Path:
    """The folder `<home>/cache/<shelf>/<digest of content>`, filled by `write` if it is not there.

    The other processes of the node wait meanwhile. `content` is plain JSON that says all that the files depend on.
    """
    digest = digest_json(content)
    target = home() / "cache" / shelf / digest
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not target.exists():
            for abandoned in target.parent.glob(f".{digest}.*"):  # by a process that was killed
                shutil.rmtree(abandoned)
            with atomic_folder(target) as folder:
                write(folder)
    return target


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Whatever cannot be read of a cached folder inside is an `IntegrityError` that says what to do."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{folder}: cached data are damaged ({error}); delete the folder") from error
