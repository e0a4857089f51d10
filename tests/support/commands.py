"""Commands run inside the tests' own process: quicker than processes, and as they are."""

import importlib
import sys
from typing import NamedTuple

import pytest
from absl import flags


class Answer(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str


def run_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, module: str, *arguments: str
) -> Answer:
    """Runs a command's `main`.

    Args:
        monkeypatch: pytest's fixture.
        capsys: pytest's fixture.
        module: str, such as `kfsl.train`.
        *arguments: str. As on the command line.

    Returns:
        `Answer`.
    """
    forget_flags()
    name = module.rpartition(".")[2]
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys.modules["__main__"], "__doc__", None)
    capsys.readouterr()
    code = 0
    try:
        importlib.import_module(module).main()
    except SystemExit as error:
        code = int(error.code or 0)
    captured = capsys.readouterr()
    return Answer(code, captured.out, captured.err)


def forget_flags() -> None:
    """As in a new process: no values, and no flags of another command's `main`."""
    for module, known in list(flags.FLAGS.flags_by_module_dict().items()):
        if module.startswith("kfsl.") and not module.startswith("kfsl.command_line."):
            for flag in list(known):
                delattr(flags.FLAGS, flag.name)
    for name in list(flags.FLAGS):
        flags.FLAGS[name].unparse()


def refused(answer: Answer, *words: str) -> None:
    """Asserts that a command answered with one line that has some words, and exit code 2."""
    assert answer.code == 2, answer
    lines = answer.err.strip().splitlines()
    assert len(lines) == 1, answer.err
    for word in words:
        assert word in lines[0], lines[0]
