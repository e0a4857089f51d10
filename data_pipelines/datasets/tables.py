"""Tables that users write: CSV with named columns."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path


def read_table(file: Path, columns: Sequence[str]) -> Iterator[dict[str, str]]:
    """The rows of a CSV file.

    Args:
        file: `pathlib.Path`. In UTF-8; the byte order mark that spreadsheets write is no part of
            the first column's name.
        columns: sequence of str. Columns that there must be.

    Returns:
        Iterator of dicts from column to value.

    Raises:
        ValueError: it is no such file, lacks a column, or a row lacks a value.
    """
    # utf-8-sig reads files without the mark, too.
    with open(file, newline="", encoding="utf-8-sig") as lines:
        try:
            rows = csv.DictReader(lines)
            if not set(columns) <= set(rows.fieldnames or ()):
                raise ValueError(
                    f"{file} has the columns {rows.fieldnames}, expected {','.join(columns)}."
                )
            for row in rows:
                if any(row[column] is None for column in columns):
                    raise ValueError(
                        f"Line {rows.line_num} of {file} has no {columns[-1]}; expected "
                        f"{','.join(columns)}."
                    )
                yield row
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"Cannot read the table {file}: {error}.") from error
