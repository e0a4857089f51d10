"""What Ctrl-C is told: what the command has kept, and no more."""

import importlib

import pytest

from tests.support.commands import run_command


@pytest.mark.parametrize(
    ("module", "told"),
    [
        ("kfsl.evaluate", "interrupted."),
        ("kfsl.predict", "interrupted."),
        ("kfsl.train", "interrupted; the same command continues where the last checkpoint is."),
        ("kfsl.reproduce", "interrupted; the same command continues where the last checkpoint is."),
    ],
)
def test_an_interrupted_command_says_what_goes_on(monkeypatch, capsys, module, told):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib.import_module(module), "_main", interrupt)
    answer = run_command(monkeypatch, capsys, module)
    assert answer.code == 130
    assert answer.err == f"kfsl {module.removeprefix('kfsl.')}: {told}\n"
