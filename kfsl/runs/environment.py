"""What a run ran on: versions, commit, processor, time."""

import datetime
import os
import platform
import subprocess
import sys
from importlib import metadata as packages
from typing import Any

VERSIONED_PACKAGES = ("kfsl", "keras", "tensorflow", "tensorflow-datasets", "gin-config", "numpy")


def environment() -> dict[str, Any]:
    """Versions, commit, machine and command line: what a number depends on.

    Returns:
        dict that JSON can hold.
    """
    return {
        "versions": {name: _version(name) for name in VERSIONED_PACKAGES},
        "python": platform.python_version(),
        "commit": _commit(),
        "machine": {"cpu": _cpu(), "cores": os.cpu_count(), "system": platform.platform()},
        "command_line": sys.argv,
        "when": now(),
    }


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _version(name: str) -> str | None:
    try:
        return packages.version(name)
    except packages.PackageNotFoundError:
        return None


def _commit() -> str | None:
    folder = os.path.dirname(os.path.abspath(__file__))
    try:
        command = ["git", "-C", folder, "rev-parse", "HEAD"]
        head = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
        changes = subprocess.run(
            ["git", "-C", folder, "status", "--porcelain", "--untracked-files=no"],
            capture_output=True, text=True, check=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + ("+changes" if changes.stdout.strip() else "")


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [
                line.split(":", 1)[1].strip() for line in file if line.startswith("model name")
            ]
    except OSError:
        names = []
    return names[0] if names else platform.processor()
