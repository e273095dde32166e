"""What comes back by itself is waited for."""

import pytest

from pipelines.artifacts import patience
from pipelines.artifacts.patience import is_passing, keep_trying
from zoo.errors import BadInputError, DiskFullError


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "DELAYS", (0.0, 0.0))


class Disk:
    """Is full for so many attempts."""

    def __init__(self, full: int, error: Exception) -> None:
        self.full, self.error = full, error

    def write(self) -> str:
        self.full -= 1
        if self.full >= 0:
            raise self.error
        return "written"


def test_what_is_away_for_a_while_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    assert keep_trying(Disk(2, DiskFullError("the disk is full")).write, is_passing) == "written"
    assert caplog.text.count("the disk is full; tried again") == 2


def test_what_stays_away_ends_with_its_own_error() -> None:
    with pytest.raises(DiskFullError, match="the disk is full"):
        keep_trying(Disk(3, DiskFullError("the disk is full")).write, is_passing)


def test_another_error_ends_at_once() -> None:
    disk = Disk(1, BadInputError("no"))
    with pytest.raises(BadInputError):
        keep_trying(disk.write, is_passing)
    assert disk.full == 0
