"""A campaign on rows of the letters, in a process that a test may kill.

python -m tests.support.campaign_process RUNS RESULTS PAGE [ROW ...]
"""

import sys

from kfsl.evidence import registry
from kfsl.evidence.paper_row import PaperRow
from kfsl.reproduction.campaign import Campaign, CampaignError

PAPER = "Letters (A. Uthor, 2030)"
FIRST, SECOND, OTHER = (f"letters_{name}_3way_1shot" for name in ("first", "second", "other"))
ROWS = {
    row.name: row
    for row in (
        PaperRow(FIRST, "letters", PAPER, "First", "letters", "", 50.0, 1.0, "Table 1"),
        PaperRow(
            SECOND, "letters", PAPER, "Second", "letters", "", 99.9, 0.1, "Table 1",
            against=FIRST, seeds=(0, 7), starts_from=FIRST,
        ),
        PaperRow(OTHER, "letters", PAPER, "Other", "letters"),
    )
}  # fmt: skip


#: As far as its commands stand back here: at 19 they would starve beside other tests.
NICENESS = 1


def campaign(runs, results, page, threads=1, niceness=NICENESS):
    """A campaign, in a process whose registry has the letters' rows besides."""
    registry._BY_NAME.update(ROWS)
    return Campaign(runs, results, page, threads, niceness)


def main():
    runs, results, page, *names = sys.argv[1:]
    works = campaign(runs, results, page)
    try:
        for line in works.work(works.row_runs([ROWS[name] for name in names])):
            print(line, flush=True)
    except CampaignError as error:
        print(f"failed: {error}")
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
