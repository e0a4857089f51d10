"""The wheel: what is in it, and that it works away from the checkout."""

import os
import platform
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("kfsl", "data_pipelines", "gin")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    # A copy: building leaves folders behind.
    listed = subprocess.run(
        ["git", "ls-files", "setup.py", "pyproject.toml", "README.md", *PACKAGES],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    for name in listed:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps"]
    subprocess.run([*command, "-w", folder, source], check=True, capture_output=True)
    return next(folder.glob("kfsl-*.whl"))


def test_configurations_and_splits_are_inside(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    expected = {
        f"kfsl/configs/{path.relative_to(ROOT / 'gin')}" for path in (ROOT / "gin").rglob("*.gin")
    }
    splits = (ROOT / "data_pipelines/datasets/splits").glob("*.json")
    expected |= {str(path.relative_to(ROOT)) for path in splits}
    assert len(expected) > 40
    assert expected <= set(names)
    assert not [name for name in names if name.startswith(("tests/", "gin/"))]


def test_console_scripts_stand_beside_the_modules(wheel):
    archive = zipfile.ZipFile(wheel)
    entry = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
    scripts = archive.read(entry).decode()
    for command in ("train", "evaluate", "export", "predict", "analyze", "show", "demo"):
        assert f"kfsl-{command} = kfsl.{command}:main" in scripts


def test_it_works_from_another_folder(wheel, tmp_path):
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    environment = {**os.environ, "PYTHONPATH": str(site)}
    script = (
        "import kfsl; from kfsl.command_line import gin_files; from kfsl import configurables; "
        f"assert kfsl.__file__.startswith({str(site)!r}), kfsl.__file__; "
        "path = gin_files.find('gin/papers/stanet/omniglot_stanet_5way_1shot_3layers.gin'); "
        "assert 'configs' in path, path; "
        "assert 'STANet' in configurables.parse(['gin/stanet.gin']); "
        "from pathlib import Path; "
        "configs = Path(kfsl.__file__).parent / 'configs'; "
        "files = [f'gin/{path.relative_to(configs)}' for path in configs.rglob('*.gin')]; "
        "assert len(files) > 100; "
        "gin_files.check(files); "
        "from data_pipelines.datasets import mini_imagenet; "
        "assert len(mini_imagenet.split_lists()['train']) == 64"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr


def answer(script, **chosen):
    """What a fresh process prints, in which TensorFlow's kernels are chosen as said."""
    environment = {k: v for k, v in os.environ.items() if k != "TF_ENABLE_ONEDNN_OPTS"} | chosen
    result = subprocess.run(
        [sys.executable, "-c", f"import os; {script}"],
        env=environment, cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return result.stdout.split()


@pytest.mark.parametrize("chosen", [{}, {"TF_ENABLE_ONEDNN_OPTS": "0"}], ids=["none", "off"])
def test_tensorflow_starts_with_onednn_unless_the_user_chose(chosen):
    variable, used = answer(
        "import kfsl; print(os.environ['TF_ENABLE_ONEDNN_OPTS']); "
        "from kfsl.training.process import onednn; print(onednn())",
        **chosen,
    )
    assert variable == ("0" if chosen else "1")
    if platform.system() == "Linux" and platform.machine() == "x86_64":
        assert used == str(not chosen)


def test_what_tensorflow_uses_is_told_and_not_what_came_too_late():
    script = (
        "import tensorflow; os.environ['TF_ENABLE_ONEDNN_OPTS'] = '1'; "
        "from kfsl.training.process import onednn; print(onednn())"
    )
    assert answer(script, TF_ENABLE_ONEDNN_OPTS="0") == ["False"]
