"""Reading CIFAR-100 from folders."""

from dataclasses import replace

from data_pipelines.datasets import cifar100
from data_pipelines.load_dataset import load_dataset
from tests.support.image_trees import first_pixels, write_image


def write_cifar(root, per_class):
    for name in cifar100.superclasses():
        for part, count in zip(("train", "test"), per_class, strict=True):
            for i in range(count):
                write_image(root / part / name / f"{i}.png", 50 * (part == "test") + i, (32, 32))
    return root


def test_cifar_folders_are_merged(run, stores, tmp_path, monkeypatch):
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
