"""A card for each class on the page: its images, a place to drop more, and its removal."""

import functools
import html
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kfsl.demo import words
from kfsl.demo.workbench import Workbench

if TYPE_CHECKING:
    import gradio

    from kfsl.demo.page import Page

#: Pixels: of a place to drop files, which is otherwise as high as a picture.
DROP_HEIGHT = 130


def class_cards(page: "Page", version: "gradio.State") -> None:
    """Lays out the cards, anew whenever the classes change.

    Args:
        page: `Page`.
        version: `gradio.State`. What changes with the classes.
    """
    import gradio

    @gradio.render(inputs=[version], triggers=[version.change])
    def cards(version: int) -> None:
        del version
        # Cards are laid out in a thread of their own, while another may change the classes.
        with page.lock:
            suspects = words.suspects(page.bench)
            for number, name in enumerate(page.bench.images):
                _card(page, number, name, suspects)


def shown_images(
    bench: Workbench, files: Sequence[Path], captions: Sequence[str]
) -> list[tuple[np.ndarray, str]]:
    """Images as the model sees them, as a gallery takes them.

    Args:
        bench: `Workbench`, into which they were dropped.
        files: sequence of `pathlib.Path`.
        captions: sequence of str.

    Returns:
        list of pairs of a uint8 array, `[H, W]` or `[H, W, 3]`, and a caption.
    """
    pixels = bench.pixels(files)
    grey = [image[..., 0] if image.shape[-1] == 1 else image for image in pixels]
    return list(zip(grey, captions, strict=True))


def _card(page: "Page", number: int, name: str, suspects: dict[tuple[str, int], str]) -> None:
    import gradio

    bench, files = page.bench, page.bench.images[name]
    looks = [suspects.get((name, place)) for place in range(len(files))]
    captions = ["" if other is None else f"{other}?" for other in looks]
    with gradio.Column(elem_id=f"class-{number}", elem_classes="card"):
        with gradio.Row():
            gradio.HTML(f"<h3>{html.escape(_heading(name, len(files), captions))}</h3>")
            remove = gradio.Button("Remove class", size="sm", elem_id=f"remove-{number}")
        if files:
            _gallery(page, name, captions)
        drop = gradio.File(
            label=f"Drop images of {name}",
            file_count="multiple",
            height=DROP_HEIGHT,
            elem_id=f"drop-{number}",
        )
    page.on(drop.upload, functools.partial(bench.add_images, name), drop, empties=True)
    page.on(remove.click, functools.partial(bench.remove_class, name))


def _gallery(page: "Page", name: str, captions: list[str]) -> None:
    """The images of a class; the one that is clicked can be taken out."""
    import gradio

    bench = page.bench
    # The file, not its place: in another window the images may have changed since.
    files = tuple(bench.images[name])

    def chosen_file(event: gradio.SelectData) -> Path:
        return files[event.index]

    gallery = gradio.Gallery(
        shown_images(bench, bench.images[name], captions),
        show_label=False,
        columns=8,
        allow_preview=False,
        buttons=[],
        # Few images are small ones, not large.
        fit_columns=False,
        elem_classes="images",
    )
    chosen = gradio.State(None)
    gallery.select(chosen_file, None, chosen, api_visibility="private")
    remove = gradio.Button("Remove the image that was clicked", size="sm", elem_classes="take-out")
    page.on(remove.click, functools.partial(bench.remove_image, name), chosen)


def _heading(name: str, count: int, captions: Sequence[str]) -> str:
    doubtful = sum(map(bool, captions))
    images = f"{name}: {count} image{'' if count == 1 else 's'}"
    return f"{images}, {doubtful} doubtful" if doubtful else images
