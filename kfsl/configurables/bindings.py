"""Bindings: read, explained where they are wrong, and checked to have been used."""

import difflib
import re
from collections.abc import Sequence

import gin
from kfsl.command_line import gin_files
from kfsl.command_line.argument_names import argument_names
from kfsl.command_line.binding_uses import decides, is_used
from kfsl.configurables.kinds import KINDS
from kfsl.configurables.registry import configurable_by_name
from kfsl.experiment import Experiment

#: Long enough that gin breaks no binding: one line is one binding.
LINE_LENGTH = 10_000

#: What any Keras object takes besides the arguments of its own signature.
KERAS_ARGUMENTS = ("name", "dtype", "trainable")


class BindingError(ValueError):
    """A binding that gin does not know, or that nothing used."""


def parse(paths: Sequence[str], bindings: Sequence[str] = ()) -> str:
    """Reads gin files and bindings; what was bound before is forgotten.

    Args:
        paths: list of str. The later file wins.
        bindings: list of str, such as `train.epochs=3`; they win over the files.

    Returns:
        The whole configuration as gin prints it: the same text for the same bindings.

    Raises:
        BindingError: naming a configurable, argument or macro that does not exist.
        GinFileError: naming a file that is missing or malformed.
    """
    return parse_text("\n".join(gin_files.text(path) for path in paths), bindings)


def parse_text(text: str, bindings: Sequence[str] = ()) -> str:
    """As `parse`, from gin text, such as a run's `config.gin`."""
    gin.clear_config()
    try:
        with gin.unlock_config():
            gin.parse_config([text, *bindings])
            gin.finalize()
        _check_arguments()
        return _configured()
    except (ValueError, NameError) as error:
        raise BindingError(_explained(str(error).split("\n")[0])) from error
    except gin_files.MALFORMED as error:
        raise gin_files.malformed(error, "the configuration") from None
    except ImportError as error:
        raise BindingError(
            f"{str(error).splitlines()[0]}: an import of the configuration failed. A module of "
            "your own must lie in the current folder, or in one of PYTHONPATH."
        ) from error


def operative() -> str:
    """The part of the configuration that was used so far, defaults included."""
    return gin_files.without_rules(gin.operative_config_str(LINE_LENGTH))


def check_used(command: str) -> None:
    """Refuses bindings that nothing used: they are mostly misspelt or of another method.

    Args:
        command: str. `"train"` or `"evaluate"`; the bindings of the other's function are exempt.

    Raises:
        BindingError: naming the first unused binding.
    """
    used = gin_files.bindings(operative())
    for scope, selector, argument in gin_files.bindings(_configured()):
        if _belongs_to_another_command(selector, command):
            continue
        if not is_used((scope, selector, argument), used):
            binding = ".".join(part for part in (selector, argument) if part)
            prefix = f"{scope}/" if scope else ""
            raise BindingError(
                f"The binding {prefix}{binding} is not used by this configuration. Remove it, "
                "or bind what would use it. If another binding took its place, change the value "
                "it gives instead, or copy the gin file."
            )


def check_overrides(overrides: Sequence[str], config: str, what: str) -> None:
    """Refuses bindings of the command line that changed nothing of what a command does.

    Args:
        overrides: list of str. Bindings that should win over those of the configuration.
        config: str. Gin text: a run's own, or what gin files say.
        what: str. What they should have had an effect on, for the message.

    Raises:
        BindingError: naming the first binding without effect.
    """
    uses = gin_files.bindings(operative())
    known = gin_files.bindings("\n".join([config, *overrides]))
    for override in overrides:
        for binding in gin_files.bindings(override):
            if not decides(binding, known, uses):
                raise BindingError(
                    f"The binding {override} has no effect on {what}; nothing was written. Leave "
                    "it out, or bind what is used: evaluation/fixed_episode.ways, say, where the "
                    "configuration has that scope."
                )


def bound_kind() -> type:
    """The kind of experiment whose learner is bound."""
    return next((kind for kind in KINDS if is_bound(kind.__name__, "learner")), Experiment)


def is_bound(selector: str, argument: str) -> bool:
    return argument in gin.get_bindings(selector, resolve_references=False)


def _explained(message: str) -> str:
    by_name = configurable_by_name()
    argument = re.match(r"Configurable '(?:\w+\.)*(\w+)' doesn't have a parameter named", message)
    if argument:
        return f"{message} It has {', '.join(argument_names(by_name[argument[1]]))}."
    unknown = re.match(r"No configurable matching '(?:\w+\.)*(\w+)'", message)
    if unknown:
        close = difflib.get_close_matches(unknown[1], by_name, n=3) or sorted(by_name)
        return f"{message} Perhaps: {', '.join(close)}."
    return message


def _check_arguments() -> None:
    """Refuses arguments that a class would swallow in its `**kwargs`; gin lets them pass."""
    by_name = configurable_by_name()
    for _, selector, argument in gin_files.bindings(_configured()):
        configurable = by_name.get(selector.split(".")[-1])
        if configurable is None or not argument:
            continue
        known = argument_names(configurable)
        if argument not in (*known, *KERAS_ARGUMENTS):
            raise BindingError(
                f"{selector} has no argument {argument!r}; it has {', '.join(known)}."
            )


def _configured() -> str:
    return gin_files.without_rules(gin.config_str(LINE_LENGTH))


def _belongs_to_another_command(selector: str, command: str) -> bool:
    commands = KINDS[bound_kind()].commands
    others = [function.__name__ for name, function in commands.items() if name != command]
    return selector.split(".")[-1] in others
