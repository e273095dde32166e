"""The folders that unfinished stages are worked on in: one for every lease, by its token.

The next holder links what the last one had finished, so that neither can change the other's files: a checkpoint
(`step-*`) is never written again once it has its name.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from zoo.files import remove_folder

CHECKPOINTS = "checkpoints/step-*"
COPIED = ("metrics.jsonl", "progress.json", "effort.json")
TRIES = 5


@dataclass(frozen=True)
class WorkSpaces:
    """`work/<key>`: the folders of one stage."""

    root: Path

    def used(self) -> int:
        """The highest token with a folder; 0 where there is none."""
        return max((int(folder.name) for folder in self._folders()), default=0)

    def newest_first(self) -> Iterator[Path]:
        """The folders, that of the highest token first."""
        yield from sorted(self._folders(), key=lambda folder: -int(folder.name))

    def open(self, token: int) -> Path | None:
        """A folder for the holder of a lease, with what earlier ones had finished; theirs go.

        None where there is one already: a token is given out once.
        """
        folder, unfinished = self.root / str(token), self.root / f".{token}"
        if folder.exists():
            return None
        self.root.mkdir(parents=True, exist_ok=True)
        self._link(unfinished)
        unfinished.rename(folder)
        for other in self.root.iterdir():
            number = other.name.removeprefix(".")
            if not number.isdecimal() or int(number) < token:  # a higher one: this process stood still meanwhile
                remove_folder(other)
        return folder

    def _link(self, after: Path) -> None:
        """Link the newest checkpoints into a new folder; whoever wrote them may still take older ones away."""
        for attempt in range(TRIES):
            shutil.rmtree(after, ignore_errors=True)
            after.mkdir()
            try:
                before = next((old for old in self.newest_first() if any(old.rglob(CHECKPOINTS))), None)
                if before:
                    _link_once(before, after)
                return
            except (OSError, shutil.Error):
                if attempt == TRIES - 1:
                    raise

    def _folders(self) -> Iterator[Path]:
        with suppress(FileNotFoundError):
            yield from (path for path in self.root.iterdir() if path.name.isdecimal())


def _link_once(before: Path, after: Path) -> None:
    newest = {step.parent: step for step in sorted(before.rglob(CHECKPOINTS))}
    for folder, step in newest.items():
        shutil.copytree(step, after / folder.relative_to(before) / step.name, copy_function=os.link)
    for name in COPIED:  # after the checkpoints, so that no row of theirs is missing; with the times of the files
        for file in before.rglob(name):
            if not set(file.relative_to(before).parts) & {"output", "result"}:
                (after / file.relative_to(before)).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, after / file.relative_to(before))
