"""The most memory that this process ever held."""

import re
import resource
from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_memory() -> int:
    """Bytes of resident memory at its peak."""
    if STATUS.exists():
        # getrusage's peak includes that of the process which started this one.
        return int(re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text("ascii"))[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
