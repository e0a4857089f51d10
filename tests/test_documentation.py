"""Every example in docstrings and documents runs."""

import ast
import os
import pkgutil
import re
from pathlib import Path

import pytest

import data_pipelines
import kfsl
from data_pipelines import samplers
from kfsl import (
    backbones,
    figures,
    layers,
    learners,
    metrics,
    objectives,
    reinforcement,
    update_rules,
)
from tests.support.exported_model import draw, write_folder, write_queries

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^[ ]*```python\n(.*?)^[ ]*```", re.MULTILINE | re.DOTALL)


def modules():
    for package in (kfsl, data_pipelines):
        folder = Path(package.__path__[0])
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            path = folder.parent / Path(*info.name.split("."))
            yield path / "__init__.py" if info.ispkg else path.with_suffix(".py")


def docstrings(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            text = ast.get_docstring(node)
            if text and "```python" in text:
                yield f"{path.relative_to(ROOT)}:{getattr(node, 'name', 'module')}", text


DOCSTRINGS = [example for path in modules() for example in docstrings(path)]
DOCUMENTS = sorted((ROOT / "docs").glob("*.md"))
# test_serving.py runs these: they need an exported model.
NEEDS_A_MODEL = {"serving.md"}
RUNNABLE = [path for path in DOCUMENTS if path.name not in NEEDS_A_MODEL]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("text", [t for _, t in DOCSTRINGS], ids=[n for n, _ in DOCSTRINGS])
def test_docstring_example(text):
    for example in FENCE.findall(text):
        exec(compile(example, "example", "exec"), {"__name__": "example"})


@pytest.mark.parametrize("path", RUNNABLE, ids=[path.name for path in RUNNABLE])
def test_document(path):
    examples = FENCE.findall(path.read_text(encoding="utf-8"))
    names = {"__name__": "document"}
    for example in examples:  # A document's examples follow on each other.
        exec(compile(example, path.name, "exec"), names)


def test_readme():
    """In a folder with what it speaks of: images of some classes, and images to classify."""
    support = {name: [(place, i) for i in range(3)] for place, name in enumerate(("ant", "bee"))}
    write_folder(Path("support"), support)
    write_queries(Path("photos"))
    for number in (1, 2):
        draw(7, number).save(f"owl{number}.jpg")
    for example in FENCE.findall((ROOT / "README.md").read_text(encoding="utf-8")):
        exec(compile(example, "README.md", "exec"), {"__name__": "readme"})
    assert os.path.isfile("my_classifier/classifier.json")


def test_every_public_class_and_learner_has_an_example():
    named = {name.split(":")[1] for name, _ in DOCSTRINGS}
    faces = (
        backbones,
        figures,
        layers,
        learners,
        metrics,
        objectives,
        reinforcement,
        samplers,
        update_rules,
    )
    public = {name for face in faces for name in face.__all__}
    assert len(public) > 40
    assert sorted(public - named) == []


def arguments(node):
    """What a function or the making of an object takes, by name."""
    if isinstance(node, ast.FunctionDef):
        return [each.arg for each in (*node.args.args, *node.args.kwonlyargs)]
    made = [each for each in node.body if getattr(each, "name", "") == "__init__"]
    if made:
        return arguments(made[0])
    fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
    if not any("dataclass" in ast.unparse(each) for each in node.decorator_list):
        return []
    return [each.target.id for each in fields if "init=False" not in ast.unparse(each)]


def test_every_argument_is_documented_where_arguments_are():
    lacking, found = [], 0
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ClassDef | ast.FunctionDef):
                continue
            _, mark, told = (ast.get_docstring(node) or "").partition("Args:\n")
            if not mark or node.name.startswith("_"):
                continue
            lines = re.findall(r"^ {4}([\w*][\w*, ]*):", told, re.MULTILINE)
            named = {name.strip("* ") for line in lines for name in line.split(",")}
            own = [each for each in arguments(node) if each not in ("self", "cls")]
            found += len(own)
            lacking += [f"{node.name}: {each}" for each in own if each.lstrip("_") not in named]
    assert found > 1000
    assert lacking == []


@pytest.mark.parametrize("path", [ROOT / "README.md", *DOCUMENTS], ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert os.path.exists(path.parent / target), f"{path.name} links to {target}"
