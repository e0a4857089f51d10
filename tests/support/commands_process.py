"""Several commands in one process, each as it would run in its own.

    python -m tests.support.commands_process '[["kfsl.train", "--gin_file=..."], [...]]'

Importing TensorFlow takes longer than the commands themselves, tiny as tests make them.
"""

import importlib
import json
import sys

from tests.support.commands import forget_flags


def main():
    for module, *arguments in json.loads(sys.argv[1]):
        forget_flags()
        sys.argv = [f"{module.rpartition('.')[2]}.py", *arguments]
        try:
            importlib.import_module(module).main()
        except SystemExit as error:
            if error.code:
                raise


if __name__ == "__main__":
    main()
