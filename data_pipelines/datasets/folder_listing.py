"""What is an image of a folder: the one rule that all commands follow.

Linked files and folders count as if they lay there. Hidden entries and those that operating
systems leave behind do not count; nor do files whose ending Pillow cannot read. Whatever is left
out is counted by its reason.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

#: Formats that Pillow knows by name but does not decode by itself.
NOT_DECODED = ("BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF")

#: Folders of operating systems; some hold small copies of the pictures around them.
SYSTEM_FOLDERS = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found")

#: Endings of pictures, and so worth a word more than `.txt` when Pillow cannot read them.
PICTURES = (
    ".avif .avifs .exr .heic .heif .hif .jp2 .jxl .jxr .tif .tiff .webp",
    ".arw .cr2 .cr3 .dng .nef .orf .raf .raw .rw2",
    ".eps .svg",
)

HIDDEN = "hidden"
DEAD_LINK = "linked to nothing"
LOOP = "linked to a folder around it"
NO_IMAGES = "inside a class, without images"


@dataclass(frozen=True)
class FolderListing:
    """What a folder holds, by the house's rule.

    Args:
        images: tuple of `pathlib.Path`. Image files, sorted by name.
        folders: tuple of `pathlib.Path`. Folders, sorted by name.
        left_out: mapping from a reason to the number of entries left out for it.
    """

    images: tuple[Path, ...] = ()
    folders: tuple[Path, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=Counter)


def list_folder(folder: Path) -> FolderListing:
    """What lies directly in a folder.

    Args:
        folder: `pathlib.Path`.

    Returns:
        A `FolderListing`.

    Raises:
        FileNotFoundError: there is no such folder.

    Example:
    ```python
    import tempfile
    from pathlib import Path
    from data_pipelines.datasets.folder_listing import list_folder

    with tempfile.TemporaryDirectory() as folder:
        for name in ("cat.png", "notes.txt", ".hidden.png"):
            (Path(folder) / name).touch()
        found = list_folder(Path(folder))
    assert [file.name for file in found.images] == ["cat.png"]
    assert found.left_out == {".txt": 1, "hidden": 1}
    ```
    """
    images, folders, left_out = [], [], Counter()
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or entry.name in SYSTEM_FOLDERS:
            left_out[HIDDEN] += 1
        elif entry.is_dir():
            folders.append(entry)
        elif not entry.is_file():
            left_out[DEAD_LINK] += 1
        elif _is_read(entry.suffix.lower()):
            images.append(entry)
        else:
            left_out[_reason(entry.suffix.lower())] += 1
    return FolderListing(tuple(images), tuple(folders), left_out)


def list_class(folder: Path) -> FolderListing:
    """The images of a class: those directly in its folder.

    Args:
        folder: `pathlib.Path`.

    Returns:
        A `FolderListing`. Where the folder has images, folders inside it are left out and counted.

    Raises:
        ValueError: it holds images, and a folder inside it does, too.
    """
    found = list_folder(folder)
    if not found.images or not found.folders:
        return found
    for inner in found.folders:
        if list_below(inner, around=(folder,)).images:
            raise ValueError(
                f"{folder} has both images and folders ({inner.name}/ holds images, too), so it "
                "may be a class or several; move the ones or the others elsewhere."
            )
    left_out = Counter(found.left_out) + Counter({NO_IMAGES: len(found.folders)})
    return FolderListing(found.images, (), left_out)


def list_below(folder: Path, around: tuple[Path, ...] = ()) -> FolderListing:
    """All images of a folder and of the folders in it, folder by folder.

    Args:
        folder: `pathlib.Path`.
        around: tuple of `pathlib.Path`. Folders that it lies in; a link back to one of them is
            left out, since following it would never end. Defaults to none.

    Returns:
        A `FolderListing` without folders.
    """
    found = list_folder(folder)
    images, left_out = list(found.images), Counter(found.left_out)
    around = (*around, folder)
    for inner in found.folders:
        if any(inner.samefile(outer) for outer in around):
            left_out[LOOP] += 1
            continue
        below = list_below(inner, around)
        images += below.images
        left_out.update(below.left_out)
    return FolderListing(tuple(images), (), left_out)


def list_images(folder: Path, missing_ok: bool = False) -> list[Path]:
    """Image files directly in a folder, sorted by name.

    Args:
        folder: `pathlib.Path`.
        missing_ok: bool. Whether a folder that does not exist counts as empty. Defaults to
            `False`.

    Returns:
        list of `pathlib.Path`.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    if missing_ok and not folder.is_dir():
        return []
    return list(list_folder(folder).images)


def left_out_words(left_out: Mapping[str, int]) -> str:
    """The reasons and numbers of what was left out, in a few words.

    Args:
        left_out: mapping from reason to number.

    Returns:
        str, empty if nothing was.
    """
    return ", ".join(f"{number} {reason}" for reason, number in sorted(left_out.items()) if number)


def printable(name: str) -> str:
    r"""A file's name as text that can be written anywhere.

    Args:
        name: str. Bytes of the name that are no UTF-8 stand in it as lone surrogates.

    Returns:
        str, with `\xe9` for such a byte.
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _is_read(ending: str) -> bool:
    format_name = Image.registered_extensions().get(ending)
    return format_name in Image.OPEN and format_name not in NOT_DECODED


def _reason(ending: str) -> str:
    if any(ending in kinds.split() for kinds in PICTURES):
        return f"{ending} (pictures that cannot be read here; convert them)"
    return printable(ending) or "without an ending"
