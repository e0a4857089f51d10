"""Fixtures of the dataset tests."""

import sys

import pytest

from data_pipelines import prepare


@pytest.fixture
def stores(tmp_path):
    folder = tmp_path / "stores"
    folder.mkdir()
    return folder


@pytest.fixture
def run(stores, capsys, monkeypatch):
    """Runs the command in this process: `(exit code, standard output, last line of errors)`."""
    monkeypatch.delenv("KFSL_DATA_DIR", raising=False)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["prepare", f"--data_dir={stores}", *arguments])
        code = 0
        try:
            prepare.main()
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        return code, captured.out, (captured.err.splitlines() or [""])[-1]

    return call


@pytest.fixture
def run_folder(run, tmp_path):
    def call(*arguments: str) -> tuple[int, str, str]:
        folder = ("--dataset=image_folder", f"--source={tmp_path / 'images'}", "--name=pets")
        return run(*folder, "--image_size=8", *arguments)

    return call
