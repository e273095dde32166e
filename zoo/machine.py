"""What this machine calls itself."""

import platform
from pathlib import Path


def processor() -> str:
    """The name of the processor: Linux has it in a file, other systems in `platform`."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
