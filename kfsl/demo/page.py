"""The page: every change goes through the workbench, and all that is shown follows from it."""

import html
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kfsl.command_line.command import USER_ERRORS, one_line
from kfsl.demo import words
from kfsl.demo.class_cards import DROP_HEIGHT, class_cards, shown_images
from kfsl.demo.pictures import picture
from kfsl.demo.workbench import Workbench

if TYPE_CHECKING:
    import gradio

INTRODUCTION = (
    "Name two classes or more and drop a few images of each. As soon as nothing is missing they "
    "are learnt; then drop images to classify."
)


#: What every event fills anew, in the order of what `Page` then gives.
SHOWN = ("message", "version", "support", "table", "told", "asked", "picture", "shows")


class Page:
    """The workbench in a browser.

    There is one workbench: whoever opens the page, in any window, sees the same classes.

    Args:
        bench: `Workbench`.
    """

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench
        # Gradio answers in threads; what lies on the workbench changes as a whole.
        self.lock = threading.Lock()
        self.parts: dict[str, Any] = {}

    def build(self) -> "gradio.Blocks":
        """The page as Gradio has it.

        Returns:
            `gradio.Blocks`.
        """
        import gradio

        with gradio.Blocks(title="kfsl", analytics_enabled=False, fill_width=True) as blocks:
            gradio.HTML(f"<h2>kfsl</h2><p>{html.escape(words.title(self.bench))}</p>")
            gradio.HTML(f"<p>{INTRODUCTION}</p>")
            self.parts["message"] = gradio.HTML(elem_id="message")
            with gradio.Row():
                with gradio.Column():
                    self._lay_out_classes()
                with gradio.Column():
                    self._lay_out_queries()
            self._listen(blocks)
        return blocks

    def on(
        self,
        event: Callable[..., Any],
        change: Callable[..., None] | None = None,
        brings: Any = None,
        empties: bool = False,
    ) -> None:
        """Lets an event change the workbench, and shows what is then there.

        Args:
            event: callable. An event of a component of Gradio, such as `button.click`.
            change: callable. Gets the value of `brings`, and raises for what it refuses: then a
                sentence says why. None changes nothing.
            brings: component of Gradio, or None.
            empties: bool. Whether the event empties it. Defaults to `False`.
        """
        brought = [] if brings is None else [brings]
        emptied = brought if empties else []

        def answered(none_of_these: bool, *values: Any) -> list[Any]:
            message = ""
            with self.lock:
                try:
                    if change is not None:
                        change(*values)
                except USER_ERRORS as error:
                    message = one_line(error)
                return [*self._shown(message, none_of_these), *(None for _ in emptied)]

        event(
            answered,
            [self.parts["none"], *brought],
            [*(self.parts[name] for name in SHOWN), *emptied],
            show_progress_on=self.parts["support"],
            api_visibility="private",
        )

    def _lay_out_classes(self) -> None:
        import gradio

        parts = self.parts
        with gradio.Row():
            parts["name"] = gradio.Textbox(label="Name of a new class", elem_id="class-name")
            parts["add"] = gradio.Button("Add class", elem_id="add-class")
        parts["version"] = gradio.State(-1)
        class_cards(self, parts["version"])
        parts["support"] = gradio.HTML(elem_id="support")

    def _lay_out_queries(self) -> None:
        import gradio

        parts = self.parts
        parts["drop"] = gradio.File(
            label="Drop images to classify",
            file_count="multiple",
            height=DROP_HEIGHT,
            elem_id="queries",
        )
        parts["none"] = gradio.Checkbox(
            True, label="An image may be of none of the classes", elem_id="none"
        )
        parts["table"] = gradio.HTML(elem_id="table")
        parts["told"] = gradio.HTML(elem_id="told")
        parts["asked"] = gradio.Gallery(
            show_label=False,
            columns=8,
            allow_preview=False,
            buttons=[],
            fit_columns=False,
            elem_id="asked",
            elem_classes="images",
        )
        gradio.HTML("<p>Click an image to see where the model looks in it.</p>")
        parts["picture"] = gradio.Image(
            show_label=False, elem_id="picture", interactive=False, buttons=[]
        )
        parts["shows"] = gradio.HTML(elem_id="shows")

    def _listen(self, blocks: "gradio.Blocks") -> None:
        """Says what each event does; `load` shows what was dropped before this window opened."""
        import gradio

        parts, bench = self.parts, self.bench
        for event in (parts["add"].click, parts["name"].submit):
            self.on(event, bench.add_class, parts["name"], empties=True)
        self.on(parts["drop"].upload, bench.ask, parts["drop"], empties=True)
        self.on(parts["none"].change)
        self.on(blocks.load)

        def looked(event: gradio.SelectData) -> tuple[Any, str]:
            with self.lock:
                return self._picture(event.index)

        shown = [parts["picture"], parts["shows"]]
        parts["asked"].select(looked, None, shown, api_visibility="private")

    def _shown(self, message: str, none_of_these: bool) -> list[Any]:
        """The value of each of `SHOWN`."""
        bench = self.bench
        table = bench.table(none_of_these)
        lines = words.query_lines(bench, table, none_of_these)
        return [
            words.as_alert(message),
            bench.version,
            words.as_list(words.support_lines(bench)),
            "" if table is None else words.as_table(table),
            words.as_list(lines),
            [] if table is None else shown_images(bench, bench.queries.files, table.predictions),
            *self._picture(0),
        ]

    def _picture(self, place: int) -> tuple[Any, str]:
        if self.bench.table() is None:
            return None, ""
        from kfsl.training.callbacks.figure_summary import figure_to_rgb

        figure, shows = picture(self.bench, place)
        return None if figure is None else figure_to_rgb(figure), words.as_list([shows])
