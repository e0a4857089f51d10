"""The command that prepares datasets, with good and bad input."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from data_pipelines import preparation, prepare
from data_pipelines.class_store import ClassStore
from data_pipelines.datasets import load_dataset, mini_imagenet, omniglot, tfds_builders
from tests.data_pipelines.image_trees import first_pixels, write_image, write_tree

CLASSES = [f"class{i}" for i in range(8)]


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
        code = prepare.main(["prepare", f"--data_dir={stores}", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, (captured.err.splitlines() or [""])[-1]

    return call


@pytest.fixture
def run_folder(run, tmp_path):
    def call(*arguments: str) -> tuple[int, str, str]:
        folder = ("--dataset=image_folder", f"--source={tmp_path / 'images'}", "--name=pets")
        return run(*folder, "--image_size=8", *arguments)

    return call


def test_image_folder_by_ratio(run_folder, stores, tmp_path):
    write_tree(tmp_path / "images", CLASSES)
    code, out, _ = run_folder("--split_ratio=0.5,0.25,0.25", "--split_seed=3")
    assert code == 0
    assert "pets: 8 classes in 1 superclasses, 24 images of 8x8x3" in out
    dataset = load_dataset("pets", data_dir=stores)
    assert {name: len(part) for name, part in dataset.splits.items()} == {
        "train": 4,
        "val": 2,
        "test": 2,
    }
    assert dataset.store.class_names == tuple(CLASSES)
    assert first_pixels(dataset.store).tolist() == [10 * c + i for c in range(8) for i in range(3)]
    redrawn = load_dataset("pets", data_dir=stores, split_seed=1)
    assert redrawn.fingerprint != dataset.fingerprint
    assert load_dataset("pets", data_dir=stores, split_seed=3).fingerprint == dataset.fingerprint


def test_a_second_call_verifies(run_folder, stores, tmp_path):
    write_tree(tmp_path / "images", CLASSES)
    assert run_folder()[0] == 0
    before = (stores / "pets" / "images.npy").stat().st_mtime_ns
    code, out, _ = run_folder()
    assert code == 0
    assert "Was there already, verified." in out
    assert (stores / "pets" / "images.npy").stat().st_mtime_ns == before
    code, _, error = run_folder("--split_ratio=0.5,0.5")
    assert code == 2
    assert "prepared from other images or options" in error
    write_image(tmp_path / "images" / "class0" / "new.png", 1)
    assert "other images" in run_folder()[2]
    with open(stores / "pets" / "images.npy", "r+b") as file:
        file.seek(200)
        file.write(b"\xee")
    code, _, error = run_folder()
    assert code == 2
    assert "is damaged" in error


def test_image_folder_with_superclasses_and_split_files(run_folder, stores, tmp_path):
    write_tree(tmp_path / "images", ["cats/lion", "cats/lynx", "dogs/wolf", "dogs/fox"])
    lists = {"train": ["lion", "dogs/wolf"], "test": ["cats/lynx"]}
    (tmp_path / "split.json").write_text(json.dumps(lists))
    assert run_folder(f"--split_file={tmp_path / 'split.json'}")[0] == 0
    dataset = load_dataset("pets", data_dir=stores)
    assert dataset.split("train").class_names == ("cats/lion", "dogs/wolf")
    assert dataset.split("train").superclass_names == ("cats", "dogs")
    assert list(dataset.splits) == ["train", "test"]
    (tmp_path / "other.csv").write_text("class,split\nfox,train\nlion,test\n")
    other = load_dataset("pets", split=str(tmp_path / "other.csv"), data_dir=stores)
    assert other.split("train").class_names == ("dogs/fox",)
    assert other.split("test").class_names == ("cats/lion",)


def test_image_folder_with_split_folders(run_folder, stores, tmp_path):
    write_tree(tmp_path / "images", ["train/a", "train/b", "valid/c", "test/d"])
    assert run_folder()[0] == 0
    dataset = load_dataset("pets", data_dir=stores)
    names = {split: dataset.split(split).class_names for split in dataset.splits}
    assert names == {"train": ("a", "b"), "val": ("c",), "test": ("d",)}


def test_the_same_classes_in_train_and_test_are_merged_when_asked(run_folder, stores, tmp_path):
    write_tree(tmp_path / "images", ["train/a", "train/b", "test/a", "test/b"])
    code, _, error = run_folder()
    assert code == 2
    assert "Class 'a' lies under train/ and under another split" in error
    assert run_folder("--split_ratio=0.5,0.5")[0] == 0
    assert load_dataset("pets", data_dir=stores).store.counts.tolist() == [6, 6]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split_ratio=0.5,0.6"], "with sum 1"),
        (["--split_ratio=0.5,x"], "with sum 1"),
        (["--split_ratio=0.98,0.01,0.01"], "8 classes are too few"),
        (["--split_ratio=0.5,0.5", "--split_file=x.json"], "exclude each other"),
        (["--split_file=nothing.json"], "nothing.json does not exist"),
        (["--image_size=0"], "--image_size=0, expected"),
        (["--image_size=8x8x8"], "--image_size=8x8x8, expected"),
        (["--channels=2"], "expected 3"),
        (["--min_images_per_class=4"], "'class0' has 3 images, --min_images_per_class=4"),
        (["--name=omniglot"], "is the name of a known dataset"),
        (["--name=a/b"], "plain folder name"),
        (["--colour=3"], "Unknown command line flag 'colour'"),
        (["surplus"], "Unexpected argument 'surplus'"),
        (["--dataset=birds"], "Unknown dataset 'birds'; known are glyphs"),
        (["--dataset=glyphs"], "--name is for --dataset=image_folder only"),
        (["--source=/nowhere"], "--source=/nowhere does not exist"),
    ],
)
def test_mistakes_end_in_one_line(run_folder, stores, tmp_path, arguments, message):
    write_tree(tmp_path / "images", CLASSES)
    code, out, error = run_folder(*arguments)
    assert (code, out) == (2, "")
    assert error.startswith("kfsl prepare: ")
    assert message in error
    assert list(stores.iterdir()) == []


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"train": ["class0"], "test": ["class0"]}, "in the split train and again in test"),
        ({"train": ["class0"], "tset": ["class1"]}, "names the split 'tset'"),
        ({"train": ["class9"]}, "'class9', which the folder lacks"),
        ({"test": ["class0"]}, "train has no class"),
        ({"train": "class0"}, "must hold"),
    ],
)
def test_wrong_split_files_are_named(run_folder, stores, tmp_path, lists, message):
    write_tree(tmp_path / "images", CLASSES)
    (tmp_path / "split.json").write_text(json.dumps(lists))
    code, _, error = run_folder(f"--split_file={tmp_path / 'split.json'}")
    assert code == 2
    assert message in error
    assert list(stores.iterdir()) == []


def test_wrong_folders_are_named(run, stores, tmp_path):
    def prepare_folder(name):
        code, _, error = run("--dataset=image_folder", f"--source={tmp_path / name}")
        assert code == 2
        return error

    write_image(tmp_path / "flat" / "a.png", 0)
    assert "has no folders; expected <class>/*" in prepare_folder("flat")
    write_tree(tmp_path / "mixed", ["a", "a/b"])
    assert "both images and folders" in prepare_folder("mixed")
    write_tree(tmp_path / "hollow", ["a"])
    (tmp_path / "hollow" / "b").mkdir()
    assert "b has no images" in prepare_folder("hollow")
    assert "is not a folder" in prepare_folder("flat/a.png")
    assert list(stores.iterdir()) == []


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
    command = (
        f"ulimit -f 20; exec {sys.executable} -m data_pipelines.prepare --dataset=image_folder "
        f"--source={tmp_path / 'images'} --data_dir={stores} --image_size=100"
    )
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
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
    with preparation._claim(stores / "pets"):
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


@pytest.fixture
def small_omniglot(monkeypatch):
    """Omniglot of three characters; every other rule of the reader holds."""
    names = ["Greek/character01", "Greek/character02", "Latin/character01"]
    monkeypatch.setattr(omniglot, "characters", lambda: names)
    info = replace(omniglot.INFO, num_classes=12, num_images=240)
    monkeypatch.setattr(omniglot, "INFO", info)
    return names


def write_drawings(root, names, size=105):
    for c, name in enumerate(names):
        for i in range(20):
            image = np.full((size, size), 255, np.uint8)
            image[: size // 2, : size // 2] = 10 * c + i  # ink in the upper left corner
            (root / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(root / name / f"{i:02d}.png")


@pytest.mark.parametrize("size", [28, 105])
def test_omniglot_folders(run, stores, tmp_path, small_omniglot, size):
    root = tmp_path / "tree"
    write_drawings(root / "images_background", small_omniglot[:2], size)
    write_drawings(root / "images_evaluation", small_omniglot[2:], size)
    code, out, error = run("--dataset=omniglot", f"--source={root}")
    assert code == 0, error
    assert "12 classes in 2 superclasses, 240 images of 28x28x1" in out
    store = ClassStore.open(stores / "omniglot")
    assert store.rotations == 4
    assert store.counts.tolist() == [20] * 12
    assert store.class_names[4:8] == tuple(
        f"Greek/character02/rot{angle}" for angle in (0, 90, 180, 270)
    )
    # The corner with ink goes round against the clock.
    for turns, (row, column) in enumerate([(3, 3), (24, 3), (24, 24), (3, 24)]):
        images = store.class_images(4 + turns)[..., 0]
        assert images[:, row, column].tolist() == [10 + i for i in range(20)]
        assert (images[:, 27 - row, 27 - column] == 255).all()
        np.testing.assert_array_equal(images[5], np.rot90(store.class_images(4)[5, ..., 0], turns))


def test_omniglot_counts_are_verified(run, stores, tmp_path, small_omniglot):
    root = tmp_path / "tree"
    write_drawings(root, small_omniglot[:2])
    assert "lacks 1 of the 1,623 characters" in run("--dataset=omniglot", f"--source={root}")[2]
    write_drawings(root, small_omniglot)
    (root / small_omniglot[1] / "00.png").unlink()
    code, _, error = run("--dataset=omniglot", f"--source={root}")
    assert code == 2
    assert "character02 has 19 drawings, expected 20" in error
    assert list(stores.iterdir()) == []


def test_omniglot_from_tfds(small_omniglot, monkeypatch, tmp_path):
    """TFDS gives alphabets as labels, characters counted from 0, 105x105 in three channels."""

    class Builder:
        class info:  # noqa: N801
            full_name = "omniglot/3.0.0"
            features = {"alphabet": type("Label", (), {"names": ["Greek", "Latin"]})}

    def examples(builder, part):
        for i in range(20):
            if part == "train":
                yield {"alphabet": 0, "alphabet_char_id": 1, "image": image(100 + i)}
                yield {"alphabet": 0, "alphabet_char_id": 0, "image": image(i)}
            else:
                yield {"alphabet": 1, "alphabet_char_id": 0, "image": image(200 + i)}

    def image(value):
        return np.full((105, 105, 3), value, np.uint8)

    monkeypatch.setattr(omniglot, "stock_builder", lambda name, host: Builder)
    monkeypatch.setattr(omniglot, "read_tfds", examples)
    reader = omniglot.reader(None, tmp_path)
    found = {}
    for index, pixels in reader.images():
        found.setdefault(index, []).append(pixels[0, 0, 0])
    assert found == {
        4 * c + t: [100 * c + i for i in range(20)] for c in range(3) for t in range(4)
    }


def write_cifar(root, per_class):
    from data_pipelines.datasets.cifar100 import superclasses

    for name in superclasses():
        for part, count in zip(("train", "test"), per_class, strict=True):
            for i in range(count):
                write_image(root / part / name / f"{i}.png", 50 * (part == "test") + i, (32, 32))
    return root


def test_cifar_folders_are_merged(run, stores, tmp_path, monkeypatch):
    from data_pipelines.datasets import cifar100

    monkeypatch.setattr(cifar100, "IMAGES_PER_CLASS", 3)
    monkeypatch.setattr(cifar100, "INFO", replace(cifar100.INFO, num_images=300))
    source = write_cifar(tmp_path / "images", (2, 1))
    code, out, error = run("--dataset=fc100", f"--source={source}")
    assert code == 0, error
    assert "cifar100: 100 classes in 20 superclasses, 300 images of 32x32x3" in out
    store = load_dataset("fc100", data_dir=stores).store
    assert first_pixels(store).tolist() == [0, 1, 50] * 100
    (source / "test" / "whale" / "0.png").unlink()
    stores.joinpath("cifar100").rename(tmp_path / "away")
    assert "Class 'whale' has 2 images" in run("--dataset=cifar100", f"--source={source}")[2]
    assert "has no folder test/" in run("--dataset=cifar100", f"--source={source / 'train'}")[2]


@pytest.fixture(scope="module")
def mini_tree(tmp_path_factory):
    """miniImageNet's 100 classes with two images each, in class folders."""
    root = tmp_path_factory.mktemp("mini")
    wnids = sorted(name for names in mini_imagenet.split_lists().values() for name in names)
    for c, wnid in enumerate(wnids):
        for i in range(2):
            write_image(root / "flat" / wnid / f"{wnid}0000000{i}.png", 2 * c + i, (84, 84))
    for split, names in mini_imagenet.split_lists().items():
        (root / "divided" / split).mkdir(parents=True)
        (root / "table" / "images").mkdir(parents=True, exist_ok=True)
        lines = ["filename,label"]
        for wnid in names:
            (root / "divided" / split / wnid).symlink_to(root / "flat" / wnid)
            for file in sorted((root / "flat" / wnid).iterdir()):
                (root / "table" / "images" / file.name).symlink_to(file)
                lines.append(f"{file.name},{wnid}")
        (root / "table" / f"{split}.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def small_mini(monkeypatch):
    monkeypatch.setattr(mini_imagenet, "IMAGES_PER_CLASS", 2)
    monkeypatch.setattr(mini_imagenet, "INFO", replace(mini_imagenet.INFO, num_images=200))


@pytest.mark.parametrize("layout", ["divided", "table"])
def test_mini_imagenet_layouts_agree(mini_tree, layout):
    flat = mini_imagenet.find_files(mini_tree / "flat")
    found = mini_imagenet.find_files(mini_tree / layout)
    assert len(flat) == 100
    assert {wnid: [file.resolve() for file in files] for wnid, files in found.items()} == flat


def test_mini_imagenet_goes_through_tfds(run, stores, mini_tree, small_mini):
    code, out, error = run("--dataset=mini_imagenet", f"--source={mini_tree / 'table'}")
    assert code == 0, error
    assert "100 classes in 1 superclasses, 200 images of 84x84x3" in out
    dataset = load_dataset("mini_imagenet", data_dir=stores)
    assert {name: len(part) for name, part in dataset.splits.items()} == {
        "train": 64,
        "val": 16,
        "test": 20,
    }
    assert sorted(first_pixels(dataset.store).tolist()) == list(range(200))
    values = first_pixels(dataset.store).reshape(100, 2)
    np.testing.assert_array_equal(np.sort(values), np.arange(200).reshape(100, 2))
    assert dataset.store.class_names == tuple(sorted(dataset.store.class_names))
    assert list((stores / "mini_imagenet" / "tfds").rglob("*.tfrecord*"))


def test_mini_imagenet_counts_are_verified(run, stores, mini_tree, small_mini, tmp_path):
    code, _, error = run("--dataset=mini_imagenet", f"--source={mini_tree}")
    assert code == 2
    assert "lacks 100 of the 100 classes" in error
    table = tmp_path / "table"
    table.mkdir()
    (table / "images").symlink_to(mini_tree / "table" / "images")
    for split in ("train", "val", "test"):
        lines = (mini_tree / "table" / f"{split}.csv").read_text().splitlines()
        (table / f"{split}.csv").write_text("\n".join(lines if split != "test" else lines[:-1]))
    error = run("--dataset=mini_imagenet", f"--source={table}")[2]
    assert "has 1 images" in error
    assert "expected 2" in error
    (table / "val.csv").write_text("filename,label\nnowhere.jpg,n01855672\n")
    assert "lists nowhere.jpg" in run("--dataset=mini_imagenet", f"--source={table}")[2]
    (table / "val.csv").write_text("file,class\n")
    assert "expected filename,label" in run("--dataset=mini_imagenet", f"--source={table}")[2]
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
