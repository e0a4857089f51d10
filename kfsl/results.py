"""`python -m kfsl.results`: RESULTS.md from committed evidence.

    python -m kfsl.results [--check]
    python -m kfsl.results --collect=RUN_DIR --row=NAME [--table=... --method=... --dataset=...
        --setting="5-way 1-shot" --paper=97.4 --paper_interval=... --note=...]

A row of the table is a folder `results/<row>/` with `row.json` (what the paper says),
`config.gin`, `metadata.json`, `evaluation.json` and `validation.json` (what a run did). `--collect`
copies a run's evidence there and keeps what `row.json` said already; of the papers' rows, which
`kfsl.reproduce` lists, it holds the note alone. `--check` fails if RESULTS.md is stale.
"""

from absl import flags

from kfsl.command_line import command
from kfsl.evidence.collection import collect, generate, page_beside
from kfsl.evidence.registry import row_of_folder
from kfsl.runs.run_directory import RunDirectory

TEXT_FIELDS = ("table", "method", "dataset", "setting", "note")
NUMBER_FIELDS = ("paper", "paper_interval")


def main() -> None:
    """The console script."""
    # Defined here, not at import: other commands have flags of the same name.
    flags.DEFINE_string("results", "results", "The folder of evidence.")
    flags.DEFINE_string("output", None, "The page; RESULTS.md beside the evidence by default.")
    flags.DEFINE_bool("check", False, "Fail if the page is stale; write nothing.")
    flags.DEFINE_string("collect", None, "A run directory to take evidence from.")
    flags.DEFINE_string("split", "test", "The evaluation to collect.")
    flags.DEFINE_string("row", None, "Name of the row's folder.")
    for name in TEXT_FIELDS:
        flags.DEFINE_string(name, None, f"The row's {name}.")
    for name in NUMBER_FIELDS:
        flags.DEFINE_float(name, None, f"The row's {name}, in per cent.")
    command.run(_main)


def _main() -> None:
    options = flags.FLAGS
    if options.collect:
        changes = {name: options[name].value for name in (*TEXT_FIELDS, *NUMBER_FIELDS)}
        _check_changes(options.row, changes)
        row = collect(
            RunDirectory(options.collect), options.results, options.row, changes, options.split
        )
        print(f"collected {row.folder}: {row.evaluation.summary()}")
    output = options.output or page_beside(options.results)
    print(generate(options.results, output, options.check))


def _check_changes(row: str | None, changes: dict[str, str | float | None]) -> None:
    given = [name for name, value in changes.items() if value is not None and name != "note"]
    if row and row_of_folder(row) is not None and given:
        raise ValueError(
            f"--{given[0]} has no place here: what the paper says of {row} is in the registry of "
            "kfsl.reproduce. Only --note can be given."
        )


if __name__ == "__main__":
    main()
