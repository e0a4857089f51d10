"""A campaign on small rows: what it makes, and what it survives."""

import json
import os
import subprocess
import sys
import time

import pytest

from kfsl.evidence import registry
from kfsl.evidence.collection import generate
from kfsl.reproduction.campaign import Campaign, CampaignError, _evaluated
from kfsl.reproduction.row_run import RowRun
from kfsl.reproduction.status import status
from kfsl.runs.files import write_text
from kfsl.runs.run_directory import RunDirectory
from kfsl.runs.trained_run import weights_fingerprint
from kfsl.runs.training_lock import TrainingLock
from tests.support import letters
from tests.support.campaign_process import FIRST, NICENESS, OTHER, ROWS, SECOND, campaign
from tests.support.evidence import evaluation
from tests.test_train_command import CHECKOUT, GIN

#: How the lines of a campaign begin, among those of its commands.
SAID = ("letters_", "failed: ")
PLACES = ("runs", "results", "RESULTS.md")


@pytest.fixture(autouse=True)
def _registry(monkeypatch):
    monkeypatch.setattr(registry, "_BY_NAME", {**registry._BY_NAME, **ROWS})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with prepared letters and the rows' gin files; commands run in it."""
    letters.write_letters(str(tmp_path / "stores" / "letters"))
    lists = {name: [f"c{i:02d}" for i in numbers] for name, numbers in letters.SPLITS.items()}
    (tmp_path / "split.json").write_text(json.dumps(lists))
    gin = GIN.format(split=str(tmp_path / "split.json")) + "evaluate.episodes = 8\n"
    for name in ROWS:
        path = tmp_path / ROWS[name].gin_file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(gin + ("train.start_from = 'elsewhere'\n" if name == SECOND else ""))
    monkeypatch.setenv("KFSL_STORE_DIR", str(tmp_path / "stores"))
    monkeypatch.setenv("PYTHONPATH", CHECKOUT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def process(*names):
    command = [sys.executable, "-m", "tests.support.campaign_process", *PLACES, *names]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.long
def test_rows_are_made_in_order_with_all_their_seeds(folder, capfd):
    works = campaign(*PLACES)
    rows = works.row_runs([ROWS[FIRST], ROWS[SECOND]])
    assert [run.name for run in rows] == [FIRST, SECOND, f"{SECOND}_seed7"]
    said = list(works.work(rows))
    assert [line.split(":")[0] for line in said] == [run.name for run in rows]
    assert all(run.state == "done" for run in rows)
    assert sorted(os.listdir(f"results/{FIRST}")) == [
        "config.gin", "evaluation.json", "metadata.json", "row.json", "validation.json",
    ]  # fmt: skip
    first, second, seven = (RunDirectory(run.directory.path) for run in rows)
    assert "set_up.threads = 1" in first.config
    assert f"train.start_from = 'runs/{FIRST}'" in second.config
    assert "train.seed" not in second.config
    assert "\ntrain.seed = 7\n" in seven.config
    assert "\nset_up.seed = 7\n" in seven.config
    assert seven.metadata["seed"] == 7
    # The page has the row of two seeds on one line, beside the one it is compared with.
    page = (folder / "RESULTS.md").read_text()
    assert generate("results", "RESULTS.md", check=True).endswith("3 rows")
    (line,) = (line for line in page.splitlines() if line.startswith("| Second"))
    assert "against First; paper +49.90" in line
    assert "short" in line
    assert "| 0, 7 |" in line
    assert "Validation: " in page
    # Nothing is left to do, and nothing is done again.
    capfd.readouterr()
    assert list(works.work(rows)) == []
    assert capfd.readouterr().out == ""


@pytest.mark.long
def test_killed_it_takes_its_training_with_it_and_goes_on(folder):
    bind(folder, OTHER, "train.epochs = 16")
    run = RowRun(ROWS[OTHER], 0, "runs", "results")
    killed = process(OTHER)
    _wait_for(lambda: run.updates >= 6)
    trainer = json.loads((folder / "runs" / OTHER / "training.lock").read_text())["process"]
    assert trainer != killed.pid
    niceness = max(NICENESS, os.getpriority(os.PRIO_PROCESS, os.getpid()))
    assert os.getpriority(os.PRIO_PROCESS, trainer) == niceness
    assert campaign(*PLACES)._lock.acquire().startswith(f"process {killed.pid} ")
    killed.kill()
    killed.communicate()
    _wait_for(lambda: not _alive(trainer))
    assert run.state == "begun"
    assert 0 < run.seconds_left < 100
    assert f"{run.updates:,} of 48 updates" in status([run])
    # Runs that fail are told of, and do not keep it from the others.
    bind(folder, FIRST, "train.epochs = -1")
    again = process(FIRST, SECOND, OTHER)
    out, _ = again.communicate()
    assert again.returncode == 2, out
    first, second, made, _, last = (line for line in out.splitlines() if line.startswith(SAID))
    assert "train.epochs" in first
    assert second.endswith(f"first run --row={FIRST}")
    assert made.startswith(f"{OTHER}: test: 3-way 1-shot, 8 episodes")
    assert last == f"failed: 3 failed: {FIRST}, {SECOND}, {SECOND}_seed7."
    assert os.listdir("results") == [OTHER]
    assert run.state == "done"
    assert run.directory.metadata["steps"] == 48
    assert len(run.directory.metadata["sessions"]) == 2


def bind(folder, name, binding):
    """Adds a binding to a row's gin file."""
    path = folder / ROWS[name].gin_file
    path.write_text(f"{path.read_text()}{binding}\n")


def _alive(process_id):
    try:
        with open(f"/proc/{process_id}/stat") as file:
            return file.read().split(") ")[1][0] != "Z"
    except FileNotFoundError:
        return False


def _wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def begun(name, text=""):
    """A row's run with a learner that was validated, whose training has not ended."""
    run = RowRun(ROWS[name], 0, "runs", "results")
    run.directory.start(text)
    write_text(run.directory.best_learner, "weights")
    return run


def test_no_row_begins_with_weights_that_are_still_trained(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base = begun(FIRST)
    beginning = RowRun(ROWS[SECOND], 0, "runs", "results")
    with pytest.raises(CampaignError, match=f"not hold finished; first run --row={FIRST}"):
        campaign(*PLACES)._beginning(beginning)
    base.directory.end(6)
    assert campaign(*PLACES)._beginning(beginning) == f"runs/{FIRST}"


def test_an_evaluation_on_fewer_episodes_is_not_the_rows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = begun(OTHER, "evaluate.episodes = 4\n")
    weights = weights_fingerprint(run.directory)
    path = run.directory.evaluation_path("test")
    assert not _evaluated(run)
    evaluation(weights=weights, values=[1.0, 0.9, 0.8]).save(path)
    assert not _evaluated(run)
    evaluation(weights=weights).save(path)
    assert _evaluated(run)
    evaluation(weights="others").save(path)
    assert not _evaluated(run)


def test_the_time_left_is_with_validation_and_without_pauses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = begun(OTHER, "train.epochs = 10\ntrain.steps_per_epoch = 5\n")
    assert run.seconds_left is None
    assert "0 of 50 updates (0 %), time left not measured yet" in status([run])
    for epoch, seconds in enumerate((2.0, 2.0, 3600.0, 2.0), start=1):
        validated = {"validation_seconds": 1.0} if epoch % 2 == 0 else {}
        line = {"step": 5 * epoch, "epoch": epoch, "seconds": seconds, **validated}
        run.directory.append_metrics(line)
    # Six epochs of two seconds, of which three are validated in one.
    assert run.seconds_left == pytest.approx(15.0)
    assert "20 of 50 updates (40 %), 0.0 h left" in status([run])


def test_a_row_of_no_updates_has_a_status_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = begun(OTHER, "train.epochs = 0\n")
    assert status([run]).startswith(f"{OTHER}: begun; 0 of 0 updates, time left not measured yet\n")


def test_two_campaigns_in_one_folder_exclude_each_other(tmp_path):
    runs = str(tmp_path)
    lock = TrainingLock(f"{runs}/campaign.lock")
    assert lock.acquire() is None
    works = campaign(runs, f"{runs}/results", f"{runs}/RESULTS.md")
    with pytest.raises(CampaignError, match=f"is being worked in by process {os.getpid()}"):
        next(works.work(works.row_runs([ROWS[OTHER]])))
    lock.release()


def test_a_run_goes_on_with_the_threads_it_began_with(tmp_path):
    run = RowRun(ROWS[OTHER], 0, str(tmp_path), str(tmp_path))
    assert run.threads is None
    run.directory.start("set_up.threads = 2\n")
    assert run.threads == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"threads": 0}, "--threads must be at least 1"), ({"niceness": 20}, "must be 0 to 19")],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Campaign(*PLACES, **{"threads": 1, "niceness": 19, **arguments})
