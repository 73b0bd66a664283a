"""`report`: every table and figure of stored answers in one folder, with an index, and LaTeX that compiles."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from tests.test_results import BLANK, noisy, put
from xai.cli import main
from xai.predictions import Predictions
from xai.report_errors import ERRORS
from xai.report_index import compilable, escaped
from xai.result_folders import open_results
from xai.results import Board
from xai.robustness_tables import TABLES

HOSTILE = (
    "cat <script>alert(1)</script>",
    "50% _dog_ & $x$ \\input{/etc/passwd}",
    "[9cm] žába 蛙 – † “#” \uff05 \uff3cinput\uff5b/etc/passwd\uff5d",  # the last ones of double width
)
IMAGES = 60
PART = "cue10-test-all-dddddd/paper-relative"


def answers(right: int) -> Predictions:
    """Answers to `IMAGES` images of three classes in turn, of which the first `right` are right."""
    labels = np.arange(IMAGES) % 3
    predicted = np.where(np.arange(IMAGES) < right, labels, (labels + 1) % 3)
    shares = np.full((IMAGES, 3), 0.1, np.float16)
    shares[np.arange(IMAGES), predicted] = 0.8
    return Predictions(tuple(f"image {k}" for k in range(IMAGES)), labels, predicted, shares)


def fill(folder: Path) -> None:
    """Two networks: clean and under three levels of noise."""
    for model, least in (("alexnet-cue10-s0", 20), ("resnet18-cue10-s0", 30)):
        cell = replace(BLANK, model=model)
        put(folder, cell, answers(least + 27), HOSTILE)
        for severity in (1, 2, 3):
            put(folder, noisy(cell, float(severity)), answers(least + 27 - 9 * severity).compact(), HOSTILE)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of hand-made answers."""
    base = tmp_path_factory.mktemp("report")
    fill(base / "results")
    assert main(["report", "--results", str(base / "results"), "--out", str(base / "out")]) == 0
    return base / "out"


class Links(HTMLParser):
    """The files that a page names, and its elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.files: set[str] = set()
        self.elements: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        for key, value in attrs:
            if key in ("href", "src") and value and not value.startswith("#"):
                self.files.add(value)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


def test_the_index_names_every_file_and_runs_nothing(written: Path) -> None:
    page = Links((written / "index.html").read_text())
    there = {str(path.relative_to(written)) for path in written.rglob("*") if path.is_file()}
    assert page.files == there - {"index.html"}
    assert "script" not in page.elements
    assert {Path(name).suffix for name in there} == {".html", ".tex", ".json", ".csv", ".pdf", ".svg", ".png"}


def test_tables_hold_the_numbers_of_the_answers(written: Path) -> None:
    rows = read_csv(written / PART / "accuracy.csv")
    found = {(row["network"], row["condition"]): row for row in rows}
    assert len(rows) == len(found) == 8
    clean = found["alexnet-cue10-s0", "Clean"]
    assert (int(clean["right"]), int(clean["images"])) == (47, IMAGES)
    assert float(found["resnet18-cue10-s0", "Gaussian noise, high"]["accuracy %"]) == 50
    flows = read_csv(written / PART / "transitions.csv")
    assert sum(int(row["images"]) for row in flows) == 3 * IMAGES
    (lost,) = [
        row
        for row in flows
        if (row["condition"], row["clean"], row["degraded"])
        == ("Gaussian noise, high", "both right", "both wrong")
    ]
    assert int(lost["images"]) == 47 - 30


def test_the_manifest_names_every_cell(written: Path) -> None:
    content = json.loads((written / PART / "manifest.json").read_text())
    assert len(content["cells"]) == 8
    assert content["choices"]["networks"] == ["alexnet-cue10-s0", "resnet18-cue10-s0"]


def test_the_latex_compiles(written: Path, tmp_path: Path) -> None:
    program = shutil.which("pdflatex")
    if program is None:
        pytest.skip("there is no pdflatex on this machine")
    copy = shutil.copytree(written, tmp_path / "copy")
    command = [program, "-interaction=nonstopmode", "-halt-on-error", "report.tex"]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (copy / "report.pdf").read_bytes().startswith(b"%PDF")


def test_the_latex_takes_in_every_figure_and_every_short_table(written: Path) -> None:
    text = (written / "report.tex").read_text()
    figures = {str(path.relative_to(written)) for path in written.rglob("*.pdf")}
    assert figures
    assert set(re.findall(r"\\includegraphics\[[^]]*\]\{([^}]*)\}", text)) == figures
    tables = {str(path.relative_to(written)) for path in (written / PART).glob("*.tex")}
    assert set(re.findall(r"\\input\{([^}]*)\}", text)) == tables


def test_words_are_written_out_for_latex() -> None:
    assert escaped("a_b & 50 %") == r"a\_b \& 50 \%"
    assert escaped("\\^~") == r"\textbackslash{}\textasciicircum{}\textasciitilde{}"
    assert compilable("žába 蛙 – †ü") == r"zába U+86D9 -- \dag{}ü"
    assert compilable("\uff3cinput\uff5ba\uff5d \uff05\uff3b") == r"\textbackslash{}input\{a\} \%{[}"


def test_every_table_leaves_out_what_a_board_lacks(tmp_path: Path) -> None:
    put(tmp_path, noisy(BLANK), answers(30).compact(), HOSTILE)
    (board,) = open_results([tmp_path]).boards.values()
    for name, table in {**TABLES, **ERRORS}.items():
        rows = table.make(board, board.models, "paper-relative")
        assert all(len(row) == len(rows[0]) for row in rows), name


def test_two_tables_of_one_name_are_refused() -> None:
    from xai.report_errors import register

    def make(_board: Board, _models: object, _scale: str) -> list[dict[str, str | int | float | None]]:
        return []

    with pytest.raises(ValueError, match="registered already"):
        register("transitions", "Again.")(make)


def test_only_the_networks_named_are_in_it_in_their_order(tmp_path: Path) -> None:
    fill(tmp_path / "results")
    out = tmp_path / "out"
    wanted = ["resnet18-cue10-s0", "alexnet-cue10-s0"]
    assert (
        main(["report", "--results", str(tmp_path / "results"), "--out", str(out), "--models", *wanted]) == 0
    )
    (first, *_) = read_csv(out / PART / "transitions.csv")
    assert (first["A"], first["B"]) == tuple(wanted)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--results", "nowhere"], "nowhere is no folder"),
        (["--results", "empty"], "holds no answers"),
        (["--results", "results", "--models", "vgg"], "no answers of vgg are stored"),
    ],
)
def test_bad_input_is_one_sentence(
    given: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    put(tmp_path / "results", BLANK, answers(30), HOSTILE)
    assert main(["report", *given, "--out", "out"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len([line for line in said if words in line]) == 1
    assert not (tmp_path / "out").exists()


def test_a_damaged_file_is_named_and_the_rest_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "results")
    victim = next((tmp_path / "results").rglob("gaussian_noise-paper-relative-2-*.parquet"))
    content = bytearray(victim.read_bytes())
    content[60:90] = bytes(30)
    victim.write_bytes(content)
    assert main(["report", "--results", str(tmp_path / "results"), "--out", str(tmp_path / "out")]) == 1
    assert victim.name in capsys.readouterr().err
    assert len(read_csv(tmp_path / "out" / PART / "accuracy.csv")) == 7
