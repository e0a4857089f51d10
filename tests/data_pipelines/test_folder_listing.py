"""What counts as an image of a folder."""

import os

import pytest

from data_pipelines.datasets.folder_listing import (
    left_out_words,
    list_below,
    list_class,
    list_folder,
    printable,
)
from kfsl.prediction.image_folders import find_queries, find_support
from tests.support.image_trees import write_image, write_tree

CLUTTER = ("Thumbs.db", "notes.txt", "clip.mpg", "table.h5", "logo.eps", "desktop.ini", "README")


def clutter(folder):
    for name in (*CLUTTER, ".hidden.png", "phone.HEIC", "@eaDir/small.png", "empty/notes.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"no picture")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")


WORDS = (
    "1 .db, 1 .eps (pictures that cannot be read here; convert them), 1 .h5, 1 .heic (pictures "
    "that cannot be read here; convert them), 1 .ini, 1 .mpg, 1 .txt, 2 hidden, 1 inside a class, "
    "without images, 1 linked to nothing, 1 without an ending"
)


def test_what_is_no_picture_stops_nothing_and_is_counted(run_folder, tmp_path):
    write_tree(tmp_path / "images", ["a", "b", "c"])
    clutter(tmp_path / "images" / "a")
    code, out, _ = run_folder("--split_ratio=0.5,0.5")
    assert code == 0
    assert "3 classes in 1 superclasses, 9 images" in out
    assert f"Left out: {WORDS}.\n" in out
    support = find_support(str(tmp_path / "images"))
    assert support.counts == [3, 3, 3]
    assert left_out_words(support.left_out) == WORDS


def test_a_class_of_unreadable_pictures_says_so(run_folder, tmp_path):
    write_tree(tmp_path / "images", ["a", "b"])
    (tmp_path / "images" / "c").mkdir()
    (tmp_path / "images" / "c" / "1.heic").touch()
    code, _, error = run_folder("--split_ratio=0.5,0.5")
    assert code == 2
    assert "c has no images that can be read here (left out: 1 .heic" in error
    with pytest.raises(
        ValueError, match=r"c' has no image that can be read here \(left out: 1 .he"
    ):
        find_support(str(tmp_path / "images"))


def test_a_class_of_pictures_and_folders_of_pictures_is_refused(run_folder, tmp_path):
    write_tree(tmp_path / "images", ["a", "a/more", "b"])
    code, _, error = run_folder()
    assert code == 2
    assert "a has both images and folders (more/ holds images, too)" in error
    with pytest.raises(ValueError, match="both images and folders"):
        find_support(str(tmp_path / "images"))


def test_linked_folders_and_files_count(run_folder, tmp_path):
    write_tree(tmp_path / "elsewhere", ["b"])
    write_tree(tmp_path / "images", ["a", "c"])
    (tmp_path / "images" / "b").symlink_to(tmp_path / "elsewhere" / "b")
    (tmp_path / "images" / "c" / "linked.png").symlink_to(tmp_path / "elsewhere" / "b" / "01.png")
    code, out, _ = run_folder("--split_ratio=0.5,0.5")
    assert code == 0
    assert "3 classes in 1 superclasses, 10 images" in out
    assert find_support(str(tmp_path / "images")).counts == [3, 3, 4]
    assert len(find_queries(str(tmp_path / "images")).files) == 10


def test_a_link_to_a_folder_around_it_ends(tmp_path):
    write_tree(tmp_path / "images", ["a"])
    (tmp_path / "images" / "a" / "up").symlink_to(tmp_path / "images")
    found = list_below(tmp_path / "images")
    assert [file.name for file in found.images] == ["00.png", "01.png", "02.png"]
    assert found.left_out == {"linked to a folder around it": 1}
    assert find_queries(str(tmp_path / "images")).left_out == found.left_out
    inside = list_class(tmp_path / "images" / "a")
    assert len(inside.images) == 3


def test_images_beside_class_folders_are_counted(run_folder, tmp_path):
    write_tree(tmp_path / "images", ["train/a", "train/b", "test/c"])
    write_image(tmp_path / "images" / "cover.png", 1)
    write_image(tmp_path / "images" / "train" / "cover.png", 1)
    assert "Left out: 2 beside the class folders." in run_folder()[1]
    support = find_support(str(tmp_path / "images" / "train"))
    assert support.left_out == {"beside the class folders": 1}


def test_names_that_are_no_utf8(run_folder, stores, tmp_path):
    write_tree(tmp_path / "images", ["a", "b"])
    odd = os.fsdecode(b"caf\xe9")
    write_tree(tmp_path / "images", [odd])
    os.rename(tmp_path / "images" / odd / "00.png", tmp_path / "images" / odd / f"{odd}.png")
    for words in ("3 classes in 1 superclasses, 9 images", "Was there already, verified."):
        code, out, _ = run_folder("--split_ratio=0.5,0.5")
        assert code == 0
        assert words in out
    support = find_support(str(tmp_path / "images"))
    assert support.classes == ("a", "b", "caf\\xe9")
    assert "caf\\xe9/caf\\xe9.png" in support.names
    "".join([*support.names, *support.classes, out]).encode("utf-8")
    assert printable("caf\u00e9") == "caf\u00e9"


def test_a_folder_is_listed_in_order(tmp_path):
    for name in ("b.png", "a.JPG", "c.webp"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    found = list_folder(tmp_path)
    assert [file.name for file in found.images] == ["a.JPG", "b.png", "c.webp"]
    assert [folder.name for folder in found.folders] == ["folder.png"]
    assert found.left_out == {}
