"""1,875 pairs of 84x84 images: memory is that of a chunk of queries."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def growth(pairs_at_once):
    command = [sys.executable, "-m", "tests.support.pairs_process", str(pairs_at_once)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


def test_chunks_of_queries_bound_the_memory():
    # Seen: 71 MB, most of it what 75 images need by themselves, and 257 MB.
    assert growth(250) < 0.5 * growth(1875)
