"""The formats that a learner is exported in; nothing slow is imported."""

import dataclasses
import importlib.util
import os

from kfsl.serving.files import GRAPH_FILE, MODEL_FILE


@dataclasses.dataclass(frozen=True)
class Format:
    """A format, and what has to be installed for it.

    Args:
        name: str. As `--format` has it; the extra of the package is called so too.
        title: str. As people write it.
        graph_file: str. A file that every export of the format has.
        ending: str. Of the file of each signature; empty where one folder holds all.
        modules: tuple of str. What is imported to write and to check it.

    Example:
    ```python
    from kfsl.serving.formats import FORMATS

    assert FORMATS["onnx"].file("embed") == "embed.onnx"
    ```
    """

    name: str
    title: str
    graph_file: str
    ending: str = ""
    modules: tuple[str, ...] = ()

    def file(self, signature: str) -> str:
        """The name of a signature's file."""
        return f"{signature}{self.ending}"

    def check_installed(self) -> None:
        """Looks for what the format needs.

        Raises:
            MissingExtraError: with the command that installs it.
        """
        missing = [name for name in self.modules if importlib.util.find_spec(name) is None]
        if missing:
            raise MissingExtraError(
                f"--format={self.name} needs {' and '.join(missing)}, which "
                f"{'is' if len(missing) == 1 else 'are'} not installed: "
                f"pip install 'kfsl[{self.name}]'"
            )

    def check_place(self, path: str) -> None:
        """Refuses a folder that an export of this format must not replace.

        Args:
            path: str.

        Raises:
            ValueError: naming it.
        """
        path = os.path.abspath(path)
        if not self._may_replace(path):
            raise ValueError(
                f"{path!r} holds something that kfsl did not export as {self.title}; name "
                "another folder, or empty it."
            )

    def _may_replace(self, path: str) -> bool:
        if not os.path.isdir(path):
            return not os.path.lexists(path)
        present = os.listdir(path)
        return not present or {self.graph_file, MODEL_FILE} <= set(present)


class MissingExtraError(ValueError):
    """A package of an extra is not installed."""


FORMATS = {
    format.name: format
    for format in (
        Format("saved_model", "a SavedModel", GRAPH_FILE),
        Format("onnx", "ONNX", "embed.onnx", ".onnx", ("onnx", "onnxruntime", "tf2onnx")),
        Format("litert", "LiteRT", "embed.tflite", ".tflite", ("ai_edge_litert",)),
    )
}
