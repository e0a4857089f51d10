"""The command that prepares datasets, with good and bad input."""

import os
import socket
import subprocess
import sys
import threading
import time

import pytest
from PIL import Image

from data_pipelines import preparation
from data_pipelines.claimed_folder import claimed_folder
from data_pipelines.class_store import ClassStore
from data_pipelines.datasets import tfds_builders
from kfsl.command_line import command
from tests.support.image_trees import write_tree

CLASSES = [f"class{i}" for i in range(8)]


@pytest.mark.parametrize("content", [b"no image", None])
def test_an_unreadable_image_is_named(run_folder, stores, tmp_path, content):
    write_tree(tmp_path / "images", CLASSES)
    broken = tmp_path / "images" / "class7" / "02.png"
    if content is None:
        Image.effect_noise((64, 64), 50).save(broken)
        content = broken.read_bytes()[:2000]
    broken.write_bytes(content)
    code, _, error = run_folder()
    assert code == 2
    assert f"Cannot read the image {broken}" in error
    assert list(stores.iterdir()) == []


def test_a_full_disk_leaves_nothing(stores, tmp_path):
    # The file-size limit of the process stands for the end of the disk.
    write_tree(tmp_path / "images", CLASSES)
    line = (
        f"ulimit -f 20; exec {sys.executable} -m data_pipelines.prepare --dataset=image_folder "
        f"--source={tmp_path / 'images'} --data_dir={stores} --image_size=100"
    )
    result = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "The disk is full" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert list(stores.iterdir()) == []


def test_too_little_space_is_seen_beforehand(run_folder, stores, tmp_path, monkeypatch):
    write_tree(tmp_path / "images", CLASSES)
    usage = preparation.shutil.disk_usage(stores)._replace(free=1000)
    monkeypatch.setattr(preparation.shutil, "disk_usage", lambda path: usage)
    code, _, error = run_folder()
    assert code == 2
    assert "0 MB free" in error
    assert list(stores.iterdir()) == []


def test_what_a_killed_process_left_is_removed(run_folder, stores, tmp_path):
    write_tree(tmp_path / "images", CLASSES)
    (stores / ".pets.partial" / "store").mkdir(parents=True)
    (stores / ".pets.partial" / "store" / "images.npy").write_bytes(b"half")
    assert run_folder()[0] == 0
    assert [entry.name for entry in stores.iterdir()] == ["pets"]


def test_two_processes_do_not_mix(run_folder, stores, tmp_path):
    write_tree(tmp_path / "images", CLASSES)
    with claimed_folder(stores / "pets"):
        code, _, error = run_folder()
        assert code == 2
        assert "Another process is preparing" in error
    assert run_folder()[0] == 0


def test_a_foreign_folder_is_not_touched(run_folder, stores, tmp_path):
    write_tree(tmp_path / "images", CLASSES)
    (stores / "pets").mkdir()
    (stores / "pets" / "diary.txt").write_text("mine")
    code, _, error = run_folder()
    assert code == 2
    assert "holds no class store" in error
    assert (stores / "pets" / "diary.txt").read_text() == "mine"


def test_the_source_defaults_to_the_data_folder(run, stores, tmp_path, monkeypatch):
    monkeypatch.setenv("KFSL_DATA_DIR", str(tmp_path))
    (tmp_path / "mini_imagenet").mkdir()
    code, _, error = run("--dataset=mini_imagenet")
    assert code == 2
    assert f"{tmp_path / 'mini_imagenet'} lacks 100 of the 100 classes" in error
    assert "miniImageNet cannot be downloaded" in run("--dataset=mini_imagenet", "--source=")[
        2
    ] or ("lacks 100" in run("--dataset=mini_imagenet", "--source=")[2])


@pytest.mark.parametrize("answer", [b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", None])
@pytest.mark.parametrize("dataset", ["omniglot", "cifar100"])
def test_no_network_fails_in_seconds(run, stores, tmp_path, monkeypatch, dataset, answer):
    """A proxy that refuses, and one that never answers."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.setattr(tfds_builders, "PROBE_TIMEOUT_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for name in ("https_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)

        def serve():
            connection, _ = server.accept()
            with connection:
                if answer:
                    connection.recv(1000)
                    connection.sendall(answer)
                else:
                    time.sleep(2.0)

        thread = threading.Thread(target=serve)
        thread.start()
        begin = time.monotonic()
        code, _, error = run(f"--dataset={dataset}")
        seconds = time.monotonic() - begin
        thread.join()
    assert code == 2
    assert f"Cannot download {dataset}" in error
    assert "--source=PATH" in error
    assert seconds < 5
    assert list(stores.iterdir()) == []


def test_drawn_and_known_datasets_refuse_what_is_not_theirs(run, stores, tmp_path):
    assert "remove --source" in run("--dataset=glyphs", f"--source={tmp_path}")[2]
    assert "--split_seed is for" in run("--dataset=omniglot", "--split_seed=1")[2]
    assert list(stores.iterdir()) == []


def test_help_names_the_flags(run):
    code, out, _ = run("--help")
    assert code == 0
    assert "--min_images_per_class" in out
    assert "--source" in out


def test_a_terminal_that_lacks_letters_ends_no_command(stores, tmp_path):
    write_tree(tmp_path / "images", ["a", "b", "\u732b"])
    command = [sys.executable, "-m", "data_pipelines.prepare", "--dataset=image_folder"]
    command += [f"--source={tmp_path / 'images'}", f"--data_dir={stores}", "--name=\u732b"]
    command += ["--split_ratio=0.5,0.5"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("\\u732b: 3 classes in 1 superclasses")
    assert [entry.name for entry in stores.iterdir()] == ["\u732b"]


def test_an_interruption_says_so(run_folder, stores, tmp_path, monkeypatch):
    write_tree(tmp_path / "images", CLASSES)

    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(preparation, "write_class_store", stop)
    code, _, error = run_folder()
    assert (code, error) == (130, "kfsl prepare: interrupted; nothing was written.")
    assert list(stores.iterdir()) == []


def test_a_traceback_is_there_for_who_asks(run_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("KFSL_TRACEBACK", "1")
    raised = []
    monkeypatch.setattr(command.traceback, "print_exc", lambda: raised.append(True))
    assert run_folder("--image_size=0")[0] == 2
    assert raised == [True]


REAL = os.environ.get("KFSL_DATA_DIR")


@pytest.mark.skipif(not REAL, reason="set KFSL_DATA_DIR to a folder with omniglot/ and cifar100/")
@pytest.mark.parametrize(
    ("dataset", "classes", "per_class"), [("omniglot", 6492, 20), ("cifar100", 100, 600)]
)
def test_real_data(stores, dataset, classes, per_class):
    command = [sys.executable, "-m", "data_pipelines.prepare", f"--dataset={dataset}"]
    command.append(f"--data_dir={stores}")
    for words in ("fingerprint", "Was there already, verified."):
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        assert words in result.stdout
    store = ClassStore.open(stores / dataset)
    assert store.counts.tolist() == [per_class] * classes
    assert [entry.name for entry in stores.iterdir()] == [dataset]
