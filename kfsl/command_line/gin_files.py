"""Finds gin files and checks their syntax, before anything slow is imported."""

import os
import re
import sysconfig
import tokenize
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from gin import config_parser

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_CHECKOUT = os.path.dirname(_PACKAGE)

#: What gin raises where text is none of its own.
MALFORMED = (SyntaxError, tokenize.TokenError)

_INCLUDE = re.compile(r"^include\s+(['\"])(.+?)\1[ \t]*(?:#.*)?$", re.MULTILINE)


class GinFileError(ValueError):
    """A gin file that is not there or cannot be parsed."""


def find(path: str, including: str | None = None) -> str:
    """Where a gin file lies: the current folder, the checkout, then the installed package.

    An included file is looked for beside the file that includes it before all of these.

    Args:
        path: str. Such as `gin/stanet.gin`; `gin/` stands for the installed configs too.
        including: str or None. Where the file that includes it was found.

    Returns:
        An existing path.

    Raises:
        GinFileError: if there is no such file.

    Example:
    ```python
    from kfsl.command_line import gin_files

    assert gin_files.find("gin/stanet.gin").endswith("stanet.gin")
    ```
    """
    for candidate in _candidates(path, including):
        if os.path.isfile(candidate):
            return candidate
    beside = f"beside {including}, which includes it, " if including else ""
    raise GinFileError(
        f"No gin file {path!r}: looked {beside}in {os.getcwd()}, in the checkout and in the "
        f"installed configs. Shipped files: {', '.join(shipped()) or 'none'}."
    )


def shipped() -> list[str]:
    """Names of the top-level gin files that come with kfsl, as `--gin_file` takes them."""
    for folder in (os.path.join(_CHECKOUT, "gin"), os.path.join(_PACKAGE, "configs")):
        if os.path.isdir(folder):
            names = sorted(name for name in os.listdir(folder) if name.endswith(".gin"))
            # Beside an installed kfsl lies the package gin, which has none.
            if names:
                return [f"gin/{name}" for name in names]
    return []


def of_run(run_dir: str) -> str | None:
    """The gin file that comes with kfsl and trains into a folder of this name, if there is one.

    Args:
        run_dir: str. Such as `runs/stanet`.

    Returns:
        str, as `--gin_file` takes it, or None.
    """
    name = f"{os.path.basename(os.path.normpath(run_dir))}.gin"
    for folder in (os.path.join(_CHECKOUT, "gin"), os.path.join(_PACKAGE, "configs")):
        for place, _, names in sorted(os.walk(folder)):
            if name in names:
                below = os.path.relpath(os.path.join(place, name), folder)
                return f"gin/{below.replace(os.sep, '/')}"
    return None


def check(paths: Sequence[str], bindings: Sequence[str] = ()) -> None:
    """Reads gin files and what they include, and finds what is missing or malformed.

    Args:
        paths: list of str.
        bindings: list of str, such as `train.epochs=3`.

    Raises:
        GinFileError: naming the file and the line, or what is no binding.
    """
    for path in paths:
        _check_file(find(path), ())
    for binding in bindings:
        _check_binding(binding)


def text(path: str) -> str:
    """A gin file with what it includes in the place of each include.

    gin would look for included files in the current folder alone.

    Args:
        path: str.

    Returns:
        Gin text without includes.

    Raises:
        GinFileError: if a file is missing, or is not UTF-8.
    """
    return _text(find(path))


def _text(found: str) -> str:
    return _INCLUDE.sub(lambda match: _text(find(match[2], found)), _read(found))


def _read(found: str) -> str:
    with open(found, encoding="utf-8-sig") as file:
        try:
            return file.read()
        except UnicodeDecodeError as error:
            raise GinFileError(
                f"{found} is not UTF-8 ({error.reason}). Save it as UTF-8."
            ) from None


def _candidates(path: str, including: str | None) -> Iterator[str]:
    if including is not None:
        yield os.path.join(os.path.dirname(including), path)
    yield path
    if os.path.isabs(path):
        return
    # A wheel has no checkout: there the parent folder is site-packages, which is not ours.
    if sysconfig.get_paths()["purelib"] != _CHECKOUT:
        yield os.path.join(_CHECKOUT, path)
    yield os.path.join(_PACKAGE, "configs", path.removeprefix("gin/"))


def _check_binding(text: str) -> None:
    # A module that is imported may bind what follows; a file would be looked for by gin alone.
    kinds = {type(statement) for statement in _parse(text, "--gin_param")}
    known = {config_parser.BindingStatement, config_parser.ImportStatement}
    if config_parser.IncludeStatement in kinds or not kinds & known:
        raise GinFileError(
            f"--gin_param takes a binding such as train.epochs=3; received {text!r}. Files are "
            "named with --gin_file."
        )


def _check_file(found: str, including: tuple[str, ...]) -> None:
    if found in including:
        raise GinFileError(f"{found} includes itself: {' -> '.join((*including, found))}.")
    for statement in _parse(_read(found), found):
        if isinstance(statement, config_parser.IncludeStatement):
            _check_file(find(statement.filename, found), (*including, found))


def _parse(text: str, where: str) -> list:
    try:
        return list(config_parser.ConfigParser(text, _References()))
    except MALFORMED as error:
        raise malformed(error, where) from None


def malformed(error: Exception, where: str) -> GinFileError:
    """What gin could not read, and in which line.

    Args:
        error: one of `MALFORMED`.
        where: str. What was read.
    """
    if isinstance(error, SyntaxError):
        return GinFileError(f"{where}, line {error.lineno}: {error.msg}")
    message, (line, _) = error.args  # Of a bracket or string that has no end.
    return GinFileError(f"{where}, line {line}: {message}")


class Macro(NamedTuple):
    """`%name` in gin text."""

    name: str

    def __repr__(self) -> str:
        return f"%{self.name}"


class Reference(NamedTuple):
    """`@name` in gin text, or `@name()` where it is called."""

    name: str
    called: bool

    def __repr__(self) -> str:
        return f"@{self.name}{'()' if self.called else ''}"


class _References(config_parser.ParserDelegate):
    """Keeps references apart from words: nothing is registered yet."""

    def configurable_reference(self, scoped_configurable_name: str, evaluate: bool) -> Reference:
        return Reference(scoped_configurable_name, evaluate)

    def macro(self, macro_name: str) -> Macro:
        return Macro(macro_name)


def bound_values(text: str, where: str) -> dict[tuple[str, str, str], Any]:
    """What gin text binds, nothing resolved.

    Args:
        text: str. What gin prints of a configuration.
        where: str. Whose it is, for messages.

    Returns:
        dict from scope, name of the configurable and argument to a value, in which `Macro` and
        `Reference` stand for themselves; a macro's own binding has its name and no argument.
    """
    return {
        (each.scope, each.selector.split(".")[-1], each.arg_name): each.value
        for each in _parse(text, where)
        if isinstance(each, config_parser.BindingStatement)
    }


def bindings(text: str) -> list[tuple[str, str, str]]:
    """The `(scope, selector, argument)` of each binding in gin text.

    Args:
        text: str. What gin prints of a configuration.

    Returns:
        list of triples; a macro has no scope and no argument.
    """
    return [
        (statement.scope, statement.selector, statement.arg_name)
        for statement in _parse(text, "the configuration")
        if isinstance(statement, config_parser.BindingStatement)
    ]


def without_rules(text: str) -> str:
    """gin's text without its lines of `=`, which are as long as its longest line may be."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("# ==")) + "\n"
