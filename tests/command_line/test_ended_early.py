"""Commands that are stopped, or whose output nobody reads: what they kept, and no more."""

import importlib
import os
import subprocess
import sys

import pytest

from tests.support.commands import run_command


@pytest.mark.parametrize(
    ("module", "told"),
    [
        ("kfsl.evaluate", "interrupted."),
        ("kfsl.predict", "interrupted."),
        ("kfsl.train", "interrupted; the same command continues where the last checkpoint is."),
        ("kfsl.reproduce", "interrupted."),
    ],
)
def test_an_interrupted_command_says_what_goes_on(monkeypatch, capsys, module, told):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib.import_module(module), "_main", interrupt)
    answer = run_command(monkeypatch, capsys, module)
    assert answer.code == 130
    assert answer.err == f"kfsl {module.removeprefix('kfsl.')}: {told}\n"


def test_an_interrupted_campaign_says_that_it_goes_on(monkeypatch, capsys, tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("kfsl.reproduce.Campaign.work", interrupt)
    folders = f"--runs={tmp_path}/runs", f"--results={tmp_path}/results"
    answer = run_command(monkeypatch, capsys, "kfsl.reproduce", "--all", *folders)
    assert answer.code == 130
    assert answer.err == (
        "kfsl reproduce: interrupted; the same command continues where the last checkpoint is.\n"
    )


UNREAD = """
from kfsl.command_line import command
def main():
    print("a line", flush={flush})
command.run(main{resumes})
"""


@pytest.mark.parametrize("flush", [True, False])
@pytest.mark.parametrize(
    ("resumes", "told"),
    [
        ("", ""),
        (
            ", command.RESUMES",
            "kfsl -c: nobody reads what it prints any more: interrupted; the same command "
            "continues where the last checkpoint is.\n",
        ),
    ],
)
def test_a_command_whose_output_nobody_reads_ends(flush, resumes, told):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as unread:
        program = UNREAD.format(flush=flush, resumes=resumes)
        ended = subprocess.run(
            [sys.executable, "-c", program], stdout=unread, stderr=subprocess.PIPE, text=True
        )
    assert (ended.returncode, ended.stderr) == (141, told)
