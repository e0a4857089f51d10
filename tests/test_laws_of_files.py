"""One public class a file, files of some 300 lines, and four files that a new method touches."""

import ast
import re

import pytest

from kfsl import episodes
from kfsl.episodes import SUPPORT_LABELS
from tests.test_import_law import MODULES, ROOT, imported

#: Lines of the longest file there is, a little rounded: it may fall and not rise.
MOST_LINES = 335

#: Lines up to which a class that only holds values is a small record.
SMALL_RECORD = 50

#: Packages whose face lists what there is: what is added is added there.
FACES = ("kfsl.learners", "kfsl.backbones", "data_pipelines.samplers", "kfsl.figures")

#: Files that write the keys of episodes into files of their own, whose format stays as it is.
WRITTEN = ("kfsl.analysis.attention", "kfsl.classifier.saved_classifier")

#: Packages whose tests lie with those of the package around them: they are lists, or small.
TESTED_ABOVE = (
    "data_pipelines.datasets",
    "kfsl.backbones.sources",
    "kfsl.evidence.papers",
    "kfsl.training.callbacks",
)

#: Rooms that may name a method, for they are about some of them.
ABOUT_METHODS = ("kfsl.analysis", "kfsl.classifier", "kfsl.demo")

#: Samplers that evaluation and training themselves ask for: they are no method's.
OF_EVALUATION = ("base_batch", "open_set_episode")


def syntax(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def public_classes(module: str) -> list[str]:
    """Names of a module's classes, without errors, protocols and small records."""
    return [
        node.name
        for node in syntax(module).body
        if isinstance(node, ast.ClassDef)
        and not node.name.startswith("_")
        and not node.name.endswith("Error")
        and not _is_protocol_or_record(node)
    ]


def _is_protocol_or_record(node: ast.ClassDef) -> bool:
    bases = {ast.unparse(base) for base in node.bases}
    holds_values = "NamedTuple" in bases or any(
        ast.unparse(each).startswith("dataclasses.dataclass") for each in node.decorator_list
    )
    return "Protocol" in bases or (holds_values and node.end_lineno - node.lineno < SMALL_RECORD)


def names_of(face: str) -> list[str]:
    (listed,) = (node for node in syntax(face).body if isinstance(node, ast.Assign))
    return ast.literal_eval(listed.value)


def files_of(face: str) -> set[str]:
    return {file for file in imported(face, deferred=True) if file.startswith(f"{face}.")}


def text_of(folder: str, ending: str) -> str:
    files = sorted((ROOT / folder).rglob(f"*{ending}"))
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def test_one_public_class_a_file():
    classes = {module: public_classes(module) for module in MODULES}
    assert sum(map(len, classes.values())) > 100
    many = {m: names for m, names in classes.items() if len(names) > 1}
    assert many == {}


def test_files_are_short():
    lines = {m: len(path.read_text("utf-8").splitlines()) for m, path in MODULES.items()}
    assert {m: count for m, count in lines.items() if count > MOST_LINES} == {}
    # Most of what is long is documentation; a handful may go beyond 300.
    assert sum(count > 300 for count in lines.values()) <= 10


@pytest.mark.parametrize("folder", ["results", "benchmarks/measured", "gin", "docs"])
def test_what_is_kept_names_nobodys_folders(folder):
    found = "".join(text_of(folder, ending) for ending in (".json", ".gin", ".md"))
    assert len(found) > 10_000
    assert re.findall(r"(?<![\w.])/(?:root|home|tmp|Users)/[^\s\"]+", found) == []


def test_keys_of_episodes_are_constants():
    """Of what samplers draw, keys have other meanings: those of `data_pipelines` are not these."""
    keys = {
        value for name, value in vars(episodes).items() if name.startswith(("SUPPORT", "QUERY"))
    }
    assert len(keys) == 10
    for module in MODULES:
        # Examples lie beside an export, without kfsl.
        if not module.startswith("kfsl.") or ".example" in module or module == "kfsl.episodes":
            continue
        strings = [n.value for n in ast.walk(syntax(module)) if isinstance(n, ast.Constant)]
        raw = keys & {string for string in strings if isinstance(string, str)}
        assert raw == ({SUPPORT_LABELS} if module in WRITTEN else set()), module


def test_tests_mirror_the_tree():
    packages = {m: path.parent for m, path in MODULES.items() if path.name == "__init__.py"}
    assert len(packages) > 30
    for package, folder in packages.items():
        inside = folder.relative_to(ROOT)
        mirrored = (
            ROOT / "tests" / (inside.relative_to("kfsl") if inside.parts[0] == "kfsl" else inside)
        )
        found = any(mirrored.rglob("test_*.py"))
        assert found != (package in TESTED_ABOVE), package


def test_a_method_has_a_file_a_line_a_gin_file_and_a_contract():
    configurations, tests = text_of("gin", ".gin"), text_of("tests/learners", ".py")
    files = files_of("kfsl.learners")
    names = names_of("kfsl.learners")
    assert len(files) == len(names) > 10
    for name in names:
        assert [name in public_classes(file) for file in files].count(True) == 1, name
        assert re.search(rf"^Experiment\.learner = @{name}\(\)", configurations, re.M), name
        assert re.search(rf"^class Test{name}\(\w+Contract\):", tests, re.M), name


@pytest.mark.parametrize("face", FACES)
def test_what_a_face_lists_is_tested(face):
    tests, names = text_of("tests", ".py"), names_of(face)
    for file in files_of(face):
        own = [file, *(node.name for node in syntax(file).body if hasattr(node, "name"))]
        named = [name for name in own if name in (file, *names)]
        assert any(re.search(rf"\b{name}\b", tests) for name in named), file


@pytest.mark.parametrize("face", FACES)
def test_nothing_else_names_what_a_face_lists(face):
    listed = files_of(face) - {f"{face}.{name}" for name in OF_EVALUATION}
    assert len(listed) > 5
    for module in MODULES:
        if module.startswith((face, *ABOUT_METHODS)):
            continue
        known = imported(module, deferred=True)
        assert known & listed == set(), module
        assert face not in known or module == "kfsl.configurables.registry", module
