"""How copies into the caches of nodes are counted."""

from pathlib import Path

from benchmarks.fan_out import SIZES, arrivals
from benchmarks.faults.waiting import until


def test_all_that_is_renamed_into_a_folder_is_counted_and_nothing_else(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    with arrivals(folders) as seen:
        for number, folder in enumerate([*folders, folders[0]]):
            (folder / ".unfinished").mkdir()
            (folder / ".unfinished").rename(folder / f"whole-{number}")
        until(lambda: len(seen) >= 3, "the kernel's word", 30, lambda: None)
    assert seen == ["whole-0", "whole-1", "whole-2"]


def test_no_size_is_asked_for_twice() -> None:
    assert len({tuple(size.items()) for size in SIZES}) == len(SIZES) >= 200
