"""Imports point one way, in no circle, and the light wing needs no TensorFlow."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.refusals import CHECKOUT

ROOT = Path(CHECKOUT)

COMMANDS = (
    "analyze",
    "demo",
    "evaluate",
    "export",
    "predict",
    "reproduce",
    "results",
    "show",
    "train",
)

#: Floors of the house, from the roof down; a room may import itself and any floor below it.
FLOORS = (
    {f"kfsl.{name}" for name in COMMANDS} | {"data_pipelines.prepare"},
    {"kfsl.classifier"},
    {"kfsl.analysis", "kfsl.exported_run", "kfsl.reproduction"},
    {"kfsl.configurables"},
    {"kfsl.reinforcement"},
    {"kfsl.training", "kfsl.evaluation", "kfsl.prediction", "kfsl.evidence"},
    {"kfsl.serving", "kfsl.figures", "kfsl.experiment"},
    {"kfsl.learners"},
    {"kfsl.learners.base"},
    {"kfsl.networks"},
    {"kfsl.backbones"},
    {
        "kfsl.layers",
        "data_pipelines",
        "kfsl.update_rules",
        "kfsl.objectives",
        "kfsl.calibration",
    },
    {"kfsl.gradients", "kfsl.metrics", "kfsl.runs", "kfsl.episodes", "kfsl.affine"},
    {"kfsl.argument_checks", "kfsl.command_line", "kfsl.distribution"},
    {"kfsl"},
)

#: Below `experiment` nothing of kfsl knows where images come from.
BELOW_EXPERIMENT = ("learners", "networks", "backbones", "layers", "update_rules", "objectives")

LIGHT = (
    "kfsl.command_line",
    "kfsl.runs",
    "kfsl.calibration",
    "kfsl.evidence",
    "kfsl.reproduction",
    "kfsl.analysis.analyses",
    "kfsl.analysis.evaluations",
    "kfsl.analysis.reinforcement.returns",
    "kfsl.figures",
    "kfsl.serving.card_measurements",
    "kfsl.serving.files",
    "kfsl.serving.formats",
    "kfsl.serving.model_card",
    "kfsl.serving.run_cards",
    "kfsl.prediction.image_folders",
    "kfsl.prediction.request_checks",
    "kfsl.prediction.table",
    "kfsl.prediction.words",
    *(f"kfsl.{name}" for name in COMMANDS),
)


def modules() -> dict[str, Path]:
    """Module names to files."""
    found = {}
    for package in ("kfsl", "data_pipelines"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imported(name: str, deferred: bool) -> set[str]:
    """The modules of ours that a module imports; with those inside functions, if `deferred`."""
    found = set()
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    for node in _statements(tree, deferred):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in MODULES else node.module)
    return {module for module in found if module in MODULES} - {name}


def _statements(node: ast.AST, deferred: bool):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        if isinstance(child, ast.FunctionDef) and not deferred:
            continue
        yield child
        yield from _statements(child, deferred)


def room(module: str) -> tuple[int, str]:
    """Floor (0 is the roof) and room of a module."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        prefix = ".".join(parts[:length])
        for floor, rooms in enumerate(FLOORS):
            if prefix in rooms and (prefix != "kfsl" or module == "kfsl"):
                return floor, prefix
    raise AssertionError(f"{module} stands on no floor: give its room one in {__file__}")


def test_no_import_points_up():
    broken = []
    for module in MODULES:
        floor, own = room(module)
        for other in sorted(imported(module, deferred=True)):
            if room(other)[1] != own and room(other)[0] <= floor:
                broken.append(f"{module} imports {other}")
    assert broken == []


def test_no_import_circle():
    graph = {module: imported(module, deferred=False) for module in MODULES}
    # A face imports what its package holds; whoever imports a module of it runs the face too,
    # which Python allows. So faces count as no module here.
    faces = {m for m in MODULES if MODULES[m].name == "__init__.py"}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module in done:
            return
        for other in graph[module] - faces:
            visit(other, (*path, module))
        done.add(module)

    for module in MODULES:
        if module not in faces:
            visit(module, ())


@pytest.mark.parametrize("package", BELOW_EXPERIMENT)
def test_the_core_knows_no_pipeline(package):
    for module in MODULES:
        if module.startswith(f"kfsl.{package}"):
            found = imported(module, deferred=True)
            assert not [other for other in found if other.startswith("data_pipelines")], module


def test_the_top_of_kfsl_is_small():
    assert len(list((ROOT / "kfsl").glob("*.py"))) <= 15


def test_the_light_wing_needs_no_tensorflow():
    light = [m for m in MODULES if m in LIGHT or m.startswith(tuple(f"{x}." for x in LIGHT))]
    assert len(light) > 30
    script = (
        "import importlib, sys\n"
        "sys.modules['tensorflow'] = sys.modules['keras'] = None\n"
        f"for name in {light!r}:\n"
        "    importlib.import_module(name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


PRIVATE = re.compile(
    r"\._(flatten_layers|nodes_by_depth|loss_tracker|output_shape|functional|inbound_nodes)\b"
    r"|variable\._value\b"
)


def test_one_file_knows_what_keras_does_not_promise():
    found = {m for m, path in MODULES.items() if PRIVATE.search(path.read_text(encoding="utf-8"))}
    assert found <= {"kfsl.networks.keras_private"}
    assert len(PRIVATE.findall(MODULES["kfsl.networks.keras_private"].read_text())) >= 4
