"""An `.npy` file whose length is not known before its end."""

from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import ArrayLike, DTypeLike


class GrowingArray:
    """Writes rows of one shape to `path`, one `append` after the other; the file is whole when the block ends."""

    def __init__(self, path: Path, dtype: DTypeLike, row: tuple[int, ...] = ()) -> None:
        self._file = path.open("wb")
        self._dtype, self._row = np.dtype(dtype), row
        self._length = 0

    def append(self, rows: ArrayLike) -> None:
        """Write more rows: an array-like of shape (N, *row)."""
        array = np.ascontiguousarray(rows, self._dtype)
        assert array.shape[1:] == self._row, array.shape
        self._length += len(array)
        self._file.write(array.data)

    def __enter__(self) -> "GrowingArray":
        self._write_header()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        with self._file:
            self._write_header()

    def _write_header(self) -> None:
        """In place: numpy pads the header so that it keeps its length when the first axis grows."""
        self._file.seek(0)
        shape = (self._length, *self._row)
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)
