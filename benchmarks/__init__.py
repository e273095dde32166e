"""Measured claims: each script prints rows "ours beside a baseline"; `python -m benchmarks` runs them all."""

import os

# PyTorch's profiler, which counts memory here, chats on stderr unless told so before torch is imported.
os.environ.setdefault("KINETO_LOG_LEVEL", "6")
