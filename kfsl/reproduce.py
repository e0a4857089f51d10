"""`python -m kfsl.reproduce`: the papers' numbers.

    python -m kfsl.reproduce                      # lists the rows
    python -m kfsl.reproduce --row=NAME           # trains, evaluates, writes results/NAME
    python -m kfsl.reproduce --row=NAME --results=FOLDER/results --runs=FOLDER/runs   # anew
    python -m kfsl.reproduce --all                # whatever is missing, in order
    python -m kfsl.reproduce --status             # how far, and what is left

A row is a number of a paper's table with the gin file that is to reach it. Its data must be
prepared. What has evidence in `--results` is done; with other folders it is made anew. Called
again, also after it was killed, it goes on where the last checkpoint is. To let others have the
machine for a while, stop and continue its processes: `kill -STOP -- -GROUP`,
`kill -CONT -- -GROUP`.
"""

import os
from collections.abc import Sequence

from absl import flags

from kfsl.command_line import command
from kfsl.evidence.collection import page_beside
from kfsl.evidence.registry import ROWS, paper_row
from kfsl.reproduction.campaign import Campaign
from kfsl.reproduction.row_run import DONE, RowRun
from kfsl.reproduction.status import listing, status


def main() -> None:
    """The console script."""
    # Defined here, not at import: other commands have flags of the same name.
    flags.DEFINE_string("row", None, "The row to make.")
    flags.DEFINE_bool("all", False, "Make all that is missing.")
    flags.DEFINE_bool("status", False, "Show how far the rows are.")
    flags.DEFINE_string("runs", "~/kfsl_runs", "The folder of run directories.")
    flags.DEFINE_string("results", "results", "The folder of evidence.")
    flags.DEFINE_string("output", None, "The page; RESULTS.md beside the evidence by default.")
    flags.DEFINE_integer("threads", 1, "Threads of a run that is begun.")
    flags.DEFINE_integer("niceness", 19, "0 to 19: how far it stands back for other processes.")
    command.run(_main)


def _main() -> None:
    options = flags.FLAGS
    asked = [name for name in ("row", "all", "status") if options[name].value]
    if len(asked) > 1:
        raise ValueError(f"--{asked[0]} and --{asked[1]} exclude each other; choose one.")
    runs = os.path.expanduser(options.runs)
    page = options.output or page_beside(options.results)
    campaign = Campaign(runs, options.results, page, options.threads, options.niceness)
    rows = [paper_row(options.row)] if options.row else list(ROWS)
    row_runs = campaign.row_runs(rows)
    if options.status:
        print(status(row_runs))
    elif not asked:
        print(listing(row_runs))
    else:
        with command.mistakes_in_one_line(command.RESUMES):  # A listing has nothing to resume.
            if options.row:
                _tell_done(row_runs)
            for line in campaign.work(row_runs):
                print(line, flush=True)


def _tell_done(row_runs: Sequence[RowRun]) -> None:
    for run in row_runs:
        if run.state == DONE:
            print(
                f"{run.name} is done: {run.evidence} has its evidence. To make it anew, name "
                "another --results and another --runs."
            )


if __name__ == "__main__":
    main()
