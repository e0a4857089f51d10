"""Settings of the whole suite."""

import contextlib
import ctypes
import fcntl
import gc
import importlib
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Operations on so little data take longer to be spread over threads than to be computed.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
# oneDNN's own allocator never gives back what it once took, and grows by doubling.
os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")
importlib.import_module("kfsl")  # Before TensorFlow, whose kernels it chooses.

#: Bytes above which a worker lets go between two tests of a module too, and by which it must
#: have grown since it last did: what cannot be let go is not worth another try.
LARGE, GROWN = 2**30, 2**27

#: Peak memory of this process and of its largest child, in GB, and what raised it, by worker.
PEAKS = pytest.StashKey[dict[str, tuple[float, float, dict[str, float]]]]()
#: Bytes that were left when it last let go.
KEPT = pytest.StashKey[int]()
#: By how many GB a process's peak rose in each test that raised it by `TOLD` or more.
RISES = pytest.StashKey[dict[str, float]]()
TOLD = 0.5


def pytest_generate_tests(metafunc) -> None:
    if metafunc.cls is not None and hasattr(metafunc.cls, "variants"):
        from tests.support.contract import pytest_generate_tests_for

        pytest_generate_tests_for(metafunc)


def pytest_collection_modifyitems(items) -> None:
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_collection_finish() -> None:
    # Half a million objects of TensorFlow's live as long as the process: looking through them
    # again and again for circles takes a tenth of the suite's time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)


def pytest_configure(config) -> None:
    config.stash[PEAKS] = {}
    config.stash[RISES] = {}


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error) -> None:
    """What a worker says when it ends."""
    if "peaks" in getattr(node, "workeroutput", {}):
        node.config.stash[PEAKS][node.gateway.id] = node.workeroutput["peaks"]


def pytest_sessionfinish(session) -> None:
    forked = sys.modules.get("tests.support.forked")
    child = max(_peak(resource.RUSAGE_CHILDREN), forked.largest if forked else 0.0)
    peaks = (_peak(), child, session.config.stash[RISES])
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["peaks"] = peaks
    elif not session.config.getoption("numprocesses", None):
        session.config.stash[PEAKS]["this process"] = peaks


def pytest_terminal_summary(terminalreporter, config) -> None:
    peaks = sorted(config.stash[PEAKS].items())
    told = [
        f"{name} {own:.1f} GB (its largest child {child:.1f})" for name, (own, child, _) in peaks
    ]
    terminalreporter.write_line(f"peak memory: {', '.join(told)}")
    for name, (_, _, rises) in peaks:
        for test, rise in rises.items():
            terminalreporter.write_line(f"  {name}: {rise:+.1f} GB in {test}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    before = _peak()
    result = yield
    if _peak() - before >= TOLD:
        item.config.stash[RISES][item.nodeid] = _peak() - before
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item, nextitem):
    result = yield
    limit = max(LARGE, item.config.stash.get(KEPT, 0) + GROWN)
    if nextitem is None or nextitem.path != item.path or _resident() > limit:
        _let_go()
        item.config.stash[KEPT] = _resident()
    return result


def _peak(kind: int = resource.RUSAGE_SELF) -> float:
    """The most memory that a process has had, in GB."""
    return resource.getrusage(kind).ru_maxrss / 2**20


def _resident() -> int:
    """Bytes of memory that this process has now; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def _let_go() -> None:
    """Gives back what a module's learners and graphs held: thousands of tests share a process."""
    if "keras" in sys.modules:
        from tensorflow.python.framework import ops

        sys.modules["keras"].utils.clear_session(free_memory=False)
        # TensorFlow keeps the derivative of each traced `custom_gradient`, and with it the graph.
        registry = ops.gradient_registry._registry
        for name in [name for name in registry if name.startswith("CustomGradient-")]:
            del registry[name]
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # glibc keeps freed pages otherwise.


@pytest.fixture(scope="session", autouse=True)
def _graphs_as_commands_have_them():
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> str:
    """The path of a small class store, `letters`; nobody writes into it."""
    from tests.support import letters

    path = str(tmp_path_factory.mktemp("stores") / "letters")
    letters.write_letters(path)
    return path


@pytest.fixture
def run(store, tmp_path):
    """A run directory as training leaves it, on `store`."""
    from tests.support import letters

    return letters.trained_run(str(tmp_path / "run"), store)


@pytest.fixture(scope="session")
def glyphs_store(tmp_path_factory):
    """The embedded datasets, built as a user builds them, once for all workers."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    command = [sys.executable, "-m", "data_pipelines.prepare", f"--data_dir={folder / 'stores'}"]
    with open(folder / "glyphs.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in ("glyphs", "glyph_modes"):
            if not (folder / "stores" / name).exists():
                line = [*command, f"--dataset={name}"]
                subprocess.run(line, check=True, capture_output=True, cwd=Path(__file__).parents[1])
    return folder / "stores"
