"""The papers' rows: their files, their numbers, and whom they are compared with."""

import os
import re
from pathlib import Path

import pytest

from kfsl.command_line import gin_files
from kfsl.evidence.registry import ROWS, paper_row, row_of_folder

ROOT = Path(__file__).parents[2]


def names(rows):
    return [row.name for row in rows]


def test_names_are_unique_and_seeds_too():
    folders = [folder for row in ROWS for folder in row.folders]
    assert len(set(folders)) == len(folders)
    assert all(row_of_folder(folder) is row for row in ROWS for folder in row.folders)
    assert row_of_folder("omniglot_stanet_5way_1shot_3layers_seed9") is None
    assert row_of_folder("mine") is None


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_has_a_gin_file_that_tells_its_number(row):
    path = ROOT / row.gin_file
    assert Path(gin_files.find(row.gin_file)).samefile(path)
    if row.trainer == "train_policy":
        # Numbers that the paper's text tells of a figure.
        assert row.setting == "one update"
        return
    if row.task:
        order, points = row.name.split("_")[-2:]
        words = {"random": f"{points} random pixels", "ordered": f"first {points} pixels"}[order]
        assert row.setting == f"{words} of 1,024 given"
    else:
        assert f"{row.setting.replace('-way ', 'way_').replace('-shot', 'shot')}" in row.name
    if row.published is None:
        assert row.source == ""
        assert row.interval is None
        return
    # A variant of another file has its number.
    text = path.read_text()
    while text.startswith("# As "):
        text = (path.parent / re.match(r"# As (\S+?\.gin)", text)[1]).read_text()
    comment = " ".join(line[2:] for line in text.splitlines()[:12] if line.startswith("# "))
    number = rf"{row.published:.3f}".rstrip("0").rstrip(".")
    written = rf"{re.escape(number)}0?"
    if row.interval is not None:
        interval = f"{row.interval:.2f}".rstrip("0").rstrip(".")
        written += rf" ± {re.escape(interval)}0?\b"
    assert re.search(written, comment), comment
    assert row.source != ""


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.against or row.starts_from], ids=lambda row: row.name
)
def test_rows_that_are_compared_are_of_one_setting_and_follow_what_they_begin_with(row):
    if row.against:
        other = paper_row(row.against)
        assert (other.setting, other.dataset) == (row.setting, row.dataset)
        assert other.seeds == row.seeds
    if row.starts_from:
        places = names(ROWS)
        assert places.index(row.starts_from) < places.index(row.name)
        assert f"train.start_from = 'runs/{row.starts_from}'" in (ROOT / row.gin_file).read_text()


def test_the_first_rows_are_those_that_the_papers_stand_for():
    assert names(ROWS)[:10] == [
        "omniglot_stanet_5way_1shot_3layers",
        "omniglot_stanet_5way_1shot_1layer",
        "omniglot_maml_5way_1shot_mixed",
        "omniglot_maml_5way_1shot",
        "meta_cifar100_easy_stanet_5way_1shot_3layers",
        "meta_cifar100_easy_stanet_5way_1shot_1layer",
        "mini_imagenet_matching_network_5way_1shot",
        "mini_imagenet_cross_modulation_5way_1shot",
        "mini_imagenet_prototypical_network_5way_1shot",
        "mini_imagenet_stanet_5way_1shot_conv4_3layers",
    ]


def test_all_evidence_that_is_shipped_is_of_a_row():
    folders = os.listdir(ROOT / "results")
    assert [folder for folder in folders if row_of_folder(folder) is None] == []


def test_an_unknown_row_is_refused():
    with pytest.raises(ValueError, match="There is no row 'maml'"):
        paper_row("maml")
