"""The report of a comparison: it says what the rows say, harms nobody, compiles, is checked, and is made again."""

from __future__ import annotations

import io
import json
import math
import shutil
import subprocess
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data import degradations
from models import zoo
from tests import story_helpers as helpers
from tests.story_helpers import HOSTILE, IMAGES, NAMES, facts, fake, put
from tests.test_report import Links
from xai.compare import (
    clock,
    kept,
    light,
    resampling,
    run,
    shipping,
    store,
    story,
    story_again,
    story_check,
    story_manifest,
)
from xai.compare.bench import Bench
from xai.compare.sections import Measured, section
from xai.compare.study import Facts, Study
from xai.evaluation import Cancelled
from xai.figures import render
from xai.manifests import ManifestError
from xai.reproduction import reproduce_files

STUDY = Study(NAMES, "cue10", limit=20, degradations=("gaussian_noise",), scale="paper-relative")


MEMBERS = (fake("drift", True), fake("agreement", False), fake("flips", None), fake("cues", None))


@pytest.fixture(scope="module")
def _written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of rows made up, without a bench."""
    out = tmp_path_factory.mktemp("story") / "out"
    with pytest.MonkeyPatch.context() as monkeypatch:
        put(monkeypatch, *MEMBERS)
        story.write(helpers.comparison(), out)
    return out


@pytest.fixture
def report(_written: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The same, to be changed; its sections are all there are."""
    put(monkeypatch, *MEMBERS)
    return Path(shutil.copytree(_written, tmp_path / "out"))


@pytest.fixture(scope="module")
def bench() -> Bench:
    """Two shipped networks and 20 scenes."""
    return Bench(STUDY, keep_maps=False)


# The page


def test_every_file_that_the_page_names_is_there_and_nothing_of_words_is_run(report: Path) -> None:
    page = Links((report / story.PAGE).read_text())
    assert {name for name in page.files if not (report / name).is_file()} == set()
    assert {"figures/drift-the-values.pdf", "tables/drift-values-by-image.csv", story.LATEX} <= page.files
    assert "script" not in page.elements
    assert not any("empty" in name for name in page.files)


def test_verdicts_stand_first_by_whether_the_networks_differ(report: Path) -> None:
    page = (report / story.PAGE).read_text()
    places = [
        page.index(words)
        for words in (
            "<h3>What differs</h3>",
            'href="#drift">About drift</a>: The value',
            "<h3>Where no difference was found</h3>",
            'href="#agreement">About agreement</a>: The value',
            "<h3>Other questions",
            'href="#flips">About flips</a>: The value',
            "<h3>What could not be asked</h3>",
            escape(f"About cues: There are no masks, {HOSTILE}."),
            '<h2 id="drift">',
        )
    ]
    assert places == sorted(places)


def test_each_section_has_question_sentences_undefined_cases_and_a_figure_with_words(report: Path) -> None:
    page = (report / story.PAGE).read_text()
    for words in (
        "What of drift?",
        f"1 of {IMAGES} images have no value.",
        "alt='Figure: The values. The value",
    ):
        assert words in page
    assert page.count("<img ") == 3
    assert "prefers-color-scheme" in page or "color-scheme: light dark" in page


def test_numbers_are_json_without_nan(report: Path) -> None:
    numbers = json.loads((report / story.NUMBERS).read_text(), parse_constant=pytest.fail)
    assert list(numbers) == ["drift", "agreement", "flips"]
    assert numbers["drift"]["mean"]["n"] == IMAGES - 1
    assert numbers["drift"]["each"][-1] is None
    assert numbers["drift"]["nested"] == {"none": None}


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_the_latex_compiles(report: Path) -> None:
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", story.LATEX]
    done = subprocess.run(command, cwd=report, capture_output=True)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    assert (report / "report.pdf").stat().st_size > 10_000
    assert "Overfull \\hbox" not in (report / "report.log").read_text()


def test_methods_name_networks_images_constants_and_resamples(report: Path) -> None:
    words = (report / story.METHODS).read_text()
    known = facts()
    for network in known.networks:
        assert network.name in words
        assert network.sha256[:12] in words
        assert "1,234 parameters" in words
    for name in known.study.degradations:
        level = degradations.parameters(name, 3.0, "paper-relative", known.size)
        assert all(f"{value:.3g}" in words for value in level.values())
    for text in (
        "40 images of the test split of cue10",
        "expanded percentiles of 2,000 bootstrap resamples (Hesterberg 2015)",
        "BCa with 9,999",
        f"sign flips (exact up to {resampling._FEW} images, else 9,999 draws)",
        "McNemar's exact test",
        "Holm within each family named below",
        "8 x 8",
        "Holm",
        "we looked at 40",
    ):
        assert text in words


def test_pictures_are_shown_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = lambda bench, facts, rows: {"gallery": helpers.draw(facts, rows)["the values"]}  # noqa: E731
    put(monkeypatch, fake("drift", True, pictures=pictures), fake("cues", None))
    compared = helpers.comparison()
    some_bench: Any = object()
    shown = {
        (with_bench, wanted): "figures/drift-gallery.png"
        in story.files(compared, some_bench if with_bench else None, story.Options(wanted, ("png",)))
        for with_bench in (True, False)
        for wanted in (True, False)
    }
    assert [key for key, there in shown.items() if there] == [(True, True)]


def test_a_light_report_has_the_smaller_of_each_figure_and_no_paper(report: Path) -> None:
    files = story.files(helpers.comparison(), options=story.Options(light=True))
    (figure,) = [name for name in files if name.startswith("figures/drift")]
    size = (report / "figures/drift-the-values.svg").stat().st_size
    assert len(files[figure]) <= size
    assert not any(name.startswith("tables/") or name.endswith(".tex") for name in files)
    assert Links(files[story.PAGE].decode()).files <= set(files)
    assert story_manifest.read(files[story.MANIFEST]).numbers is None


# The check


def test_an_untouched_report_passes(report: Path) -> None:
    assert story_check.check(report) == ""


def test_a_tampered_number_is_found_by_its_name(report: Path) -> None:
    numbers = json.loads((report / story.NUMBERS).read_text())
    numbers["agreement"]["mean"]["value"] *= 1.001
    (report / story.NUMBERS).write_text(json.dumps(numbers))
    assert story_check.check(report).startswith("agreement.mean.value: the report has ")


@pytest.mark.parametrize("change", ["more", "less"])
def test_a_number_too_many_or_too_few_is_found(report: Path, change: str) -> None:
    numbers = json.loads((report / story.NUMBERS).read_text())
    if change == "more":
        numbers["drift"]["planted"] = 1
    else:
        del numbers["drift"]["mean"]["low"]
    (report / story.NUMBERS).write_text(json.dumps(numbers))
    name = "drift.planted" if change == "more" else "drift.mean.low"
    assert story_check.check(report).startswith(f"{name}: the report ")


def test_tampered_rows_and_sentences_and_files_are_found(report: Path) -> None:
    known, drift = facts(), section("drift")
    read = store.read(report / kept.ROWS, known, drift)
    assert read is not None
    rows = {"images": {name: values.copy() for name, values in read["images"].items()}}
    whole = (report / kept.ROWS / "drift" / "images.parquet").read_bytes()
    rows["images"]["value"][3] += 0.5
    store.write(report / kept.ROWS, known, drift, rows)
    assert story_check.check(report).startswith("drift.mean.value: the report has ")
    (report / kept.ROWS / "drift" / "images.parquet").write_bytes(whole)
    assert story_check.check(report) == ""
    rows["images"]["value"][3] -= 0.5
    rows["images"]["unused"] = np.zeros(IMAGES)
    store.write(report / kept.ROWS, known, drift, rows)
    assert (
        story_check.check(report) == "rows/drift/images.parquet: its sha256 is not the one in the manifest."
    )
    (report / kept.ROWS / "drift" / "images.parquet").write_bytes(whole)
    page = (report / story.PAGE).read_text()
    (report / story.PAGE).write_text(page.replace("on average", "or so"))
    assert "report.html lacks what the rows say: It is " in story_check.check(report)


def test_rows_that_are_gone_or_of_another_version_are_told(
    report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (report / kept.ROWS / "drift" / "images.parquet").unlink()
    assert story_check.check(report).startswith("drift: its rows are not there")
    put(monkeypatch, fake("drift", True, version=2), fake("agreement", False), fake("flips", None))
    manifest = json.loads((report / story.MANIFEST).read_text())
    manifest["skipped"] = {}
    (report / story.MANIFEST).write_text(json.dumps(manifest))
    assert "version 1; this program has version 2" in story_check.check(report)


@pytest.mark.parametrize(
    ("one", "other", "name"),
    [
        ({"a": [1.0, 2.0]}, {"a": [1.0, 2.1]}, "a[1]"),
        ({"a": [1.0]}, {"a": [1.0, 2.0]}, "a"),
        ({"a": True}, {"a": 1}, "a"),
        ({"a": None}, {"a": 0.0}, "a"),
        ({"a": "x"}, {"a": "y"}, "a"),
        ([], {}, "the numbers"),
    ],
)
def test_differences_are_named(one: Any, other: Any, name: str) -> None:
    assert story_check.difference(one, other).startswith(f"{name}: ")
    assert story_check.difference(one, one) == story_check.difference(other, other) == ""


def test_the_last_digits_of_another_processor_are_no_difference() -> None:
    assert story_check.difference({"a": 0.123456789}, {"a": 0.123456790}) == ""
    assert story_check.difference({"a": 0.12345}, {"a": 0.12346}) != ""


# The manifest, which may be anybody's


def test_a_manifest_holds_all_that_the_report_rests_on(report: Path) -> None:
    content = (report / story.MANIFEST).read_bytes()
    held = story_manifest.read(content)
    assert held.facts == facts()
    assert held.versions == {"drift": 1, "agreement": 1, "flips": 1}
    assert held.skipped == ("cues",)
    assert held.rows.keys() == {
        f"rows/{name}/{file}" for name in held.versions for file in ("images.parquet", store.LIST)
    }
    assert held.numbers == json.loads((report / story.NUMBERS).read_text())
    assert {"python", "numpy", "torch"} <= json.loads(content)["versions"].keys()


def _changed(change: Any) -> Any:
    """The manifest with `change` made to it."""

    def make(found: dict[str, Any]) -> bytes:
        change(found)
        return json.dumps(found).encode()

    return make


BAD = {
    "no JSON": lambda found: b"{",
    "another format": _changed(lambda found: found.update(format="xai-compare-2")),
    "no facts": _changed(lambda found: found.pop("facts")),
    "facts that are a list": _changed(lambda found: found.update(facts=[])),
    "an infinite number": lambda found: json.dumps({**found, "numbers": {"a": math.inf}}).encode(),
    "a path elsewhere": _changed(lambda found: found["rows"].update({"rows/../../etc/passwd": "a" * 64})),
    "a row of no section": _changed(lambda found: found["rows"].update({"rows/none/a.parquet": "a" * 64})),
    "a hash that is none": _changed(lambda found: found["rows"].update({"rows/drift/images.parquet": "x"})),
    "a section that there is not": _changed(lambda found: found["sections"].update(spells={"version": 1})),
    "a version that is true": _changed(lambda found: found["sections"]["drift"].update(version=True)),
    "a grid of text": _changed(lambda found: found["facts"]["networks"][0].update(grid=["a", "b"])),
    "a grid without end": _changed(lambda found: found["facts"]["networks"][0].update(grid=[10**9, 8])),
    "images as text": _changed(lambda found: found["facts"].update(images="40")),
    "no images": _changed(lambda found: found["facts"].update(images=0)),
    "classes of numbers": _changed(lambda found: found["facts"].update(classes=[1, 2])),
    "a study of something else": _changed(lambda found: found["facts"]["study"].update(method="tea leaves")),
    "pictures as text": _changed(lambda found: found.update(pictures="yes")),
    "a deep list": lambda found: b'{"format": ' + 100_000 * b"[" + 100_000 * b"]" + b"}",
}


@pytest.mark.parametrize("name", BAD)
def test_a_manifest_that_is_none_is_refused_in_one_sentence(report: Path, name: str) -> None:
    content = BAD[name](json.loads((report / story.MANIFEST).read_text()))
    with pytest.raises(ManifestError) as error:
        story_manifest.read(content)
    assert str(error.value).count(".") == 1


def test_a_manifest_without_end_is_refused() -> None:
    with pytest.raises(ManifestError, match="allowed are up to 8 MiB"):
        story_manifest.read(b" " * (story_manifest.LARGEST + 1))


def test_rows_without_end_are_not_unpacked(report: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_VALUES", 100)
    with pytest.raises(store.RowsError, match="more than is allowed"):
        store.read_table(report / kept.ROWS / "drift" / "images.parquet")


# Made again


def test_a_manifest_makes_the_same_report_again(
    monkeypatch: pytest.MonkeyPatch, bench: Bench, one_thread: None
) -> None:
    put(monkeypatch, fake("drift", True), fake("flips", None))
    first = story.files(run.run(bench), bench)
    again = reproduce_files(first[story.MANIFEST], None)
    assert json.loads(again.pop(story_again.COMPARISON))["same"] is True
    assert again == first


def test_other_weights_images_peers_or_sections_are_told(
    monkeypatch: pytest.MonkeyPatch, bench: Bench
) -> None:
    put(monkeypatch, fake("drift", True))
    content = story.files(run.run(bench), options=story.Options(formats=("svg",)))[story.MANIFEST]
    monkeypatch.setattr(story_again, "Bench", lambda study, load: bench)

    def refusal(change: Any) -> str:
        found = json.loads(content)
        change(found["facts"])
        with pytest.raises(ManifestError) as error:
            reproduce_files(json.dumps(found).encode(), None)
        return str(error.value)

    assert "alexnet-cue10-s0 is not the one" in refusal(lambda f: f["networks"][0].update(sha256="0" * 64))
    assert "images of cue10 test are not" in refusal(lambda f: f.update(data_sha256="0" * 64))
    assert "this machine has" in refusal(lambda f: f["networks"][1].update(peers=["nobody"]))
    assert "not described" in refusal(lambda f: f["networks"][1].update(title="another"))
    with pytest.raises(ManifestError, match="but a comparison is of a dataset"):
        reproduce_files(content, Path("cat.png"))
    put(monkeypatch, fake("drift", True, version=2))
    with pytest.raises(ManifestError, match="has version 1; this program has 2"):
        reproduce_files(content, None)


# Running


def test_a_stopped_run_goes_on_and_a_section_that_fails_is_told(
    monkeypatch: pytest.MonkeyPatch, bench: Bench, tmp_path: Path
) -> None:
    asked: list[str] = []

    def counting(name: str) -> Any:
        def measure(bench: Bench) -> Measured:
            asked.append(name)
            return helpers.measure(bench)

        return measure

    def failing(bench: Bench) -> Measured:
        raise ValueError("no masks\nhere.")

    members = [fake(name, None, measure=counting(name)) for name in ("drift", "flips")]
    put(monkeypatch, members[0], fake("agreement", None, measure=failing), members[1])
    monkeypatch.setattr(bench, "cancelled", lambda: asked == ["drift", "flips"])
    with pytest.raises(Cancelled):
        run.run(bench, tmp_path)
    monkeypatch.setattr(bench, "cancelled", lambda: False)
    found = run.run(bench, tmp_path)
    assert asked == ["drift", "flips", "flips"]
    assert found.failed == {"agreement": "no masks here."}
    assert list(found.found) == ["drift", "flips"]
    assert found.seconds.keys() == {"agreement", "flips"}
    assert run.run(bench, tmp_path, ["drift"]).found.keys() == {"drift"}
    with pytest.raises(ValueError, match="there is no section 'spells'; allowed are drift, agreement, flips"):
        run.run(bench, tmp_path, ["spells"])


def test_progress_only_grows_and_ends_with_all(monkeypatch: pytest.MonkeyPatch, bench: Bench) -> None:
    def measure(bench: Bench) -> Measured:
        for task in range(50):
            for step in range(3):
                bench.tell(step, 2, f"task {task}")
        return helpers.measure(bench)

    put(monkeypatch, fake("drift", True, measure=measure), fake("flips", None))
    told: list[tuple[float, float, str]] = []
    heard: list[str] = []
    monkeypatch.setattr(bench, "progress", lambda done, total, what: heard.append(what))
    found = run.run(bench, told=lambda *each: told.append(each))
    shares = [done / total for done, total, _ in told]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] == 1
    assert all(share <= 1 for share in shares)
    assert "About drift: task 7" in [what for *_, what in told]
    assert found.tasks == {"drift": 51, "flips": 1}
    assert heard[0] == "task 0"
    assert bench.progress is not None


def test_what_is_stored_takes_no_time(monkeypatch: pytest.MonkeyPatch, bench: Bench, tmp_path: Path) -> None:
    put(monkeypatch, fake("drift", True), fake("flips", None))
    run.run(bench, tmp_path, ["drift"])
    told: list[tuple[float, float, str]] = []
    run.run(bench, tmp_path, told=lambda *each: told.append(each))
    assert {total for _, total, _ in told} == {clock.SECONDS["flips"]}
    assert not any("drift" in what for *_, what in told)


# What comes with the project


def test_light_rows_are_off_by_less_than_they_say() -> None:
    generator = np.random.default_rng(0)
    for spread in (1e-6, 0.2, 3e4):
        values = (spread * generator.normal(0.5, 1, 5_000)).astype(np.float32)
        (coarse,) = light.rows({"t": {"value": values}})["t"].values()
        assert np.abs(coarse - values).max() <= 1.05 * spread / (2 * light.STEPS)
        assert abs(coarse.mean() - values.mean()) < spread / (20 * np.sqrt(len(values)))
        assert len(np.unique(coarse)) < 12 * light.STEPS


def test_light_rows_keep_what_is_no_fraction_what_is_exact_and_what_is_not_finite() -> None:
    special = np.array([0, 1, 0.5, 0.25, -1, np.nan, np.inf, -np.inf], np.float32)
    table = {
        "special": special,
        "same": np.full(8, 0.1, np.float32),
        "none": np.full(8, np.nan),
        "image": np.arange(8),
        "name": np.array(list("abcdefgh")),
    }
    coarse = light.rows({"t": table})["t"]
    for name, values in table.items():
        np.testing.assert_array_equal(coarse[name], values.astype(coarse[name].dtype))


def test_light_rows_leave_brackets_of_flips_as_they_are() -> None:
    """On a scale of five levels a coarse step is longer than a bracket: flips at two qualities would be one, a tie."""
    after = np.repeat(np.arange(1, 92) / 18.2, 4).astype(np.float32)
    table = {"before": after - np.float32(1 / 90), "after": after, "other": after}
    coarse = light.rows({"flips": table})["flips"]
    assert light.step(after) > 1 / 64
    assert len(np.unique(coarse["other"])) < 91
    np.testing.assert_array_equal(coarse["before"], table["before"])
    np.testing.assert_array_equal(coarse["after"], after)


def test_a_small_picture_still_is_one() -> None:
    content = render(helpers.draw(facts(), {})["the values"], "png", light.DPI)
    small = light.png(content)
    assert len(small) < len(content)
    with Image.open(io.BytesIO(content)) as before, Image.open(io.BytesIO(small)) as after:
        difference = np.asarray(before.convert("RGB"), int) - np.asarray(after.convert("RGB"), int)
    assert np.abs(difference).max() <= 24


def test_shipping_goes_on_and_makes_reports_that_pass_the_check(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[int] = []

    def measure(bench: Bench) -> Measured:
        asked.append(1)
        return helpers.measure(bench)

    put(monkeypatch, fake("drift", True, measure=measure), fake("flips", None))
    benches = {"one": bench, "two": Bench(replace(STUDY, seed=1), bench.load, opened=lambda *_: bench.data)}
    studies = {name: each.study for name, each in benches.items()}
    monkeypatch.setattr(shipping, "studies", lambda: studies)
    monkeypatch.setattr(
        shipping, "Bench", lambda study: next(each for each in benches.values() if each.study == study)
    )
    arguments = ["--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    assert shipping.main(arguments) == shipping.main(arguments) == 0
    assert len(asked) == 2
    index = json.loads((tmp_path / "out" / shipping.INDEX).read_text())
    assert [entry["folder"] for entry in index] == ["one", "two"]
    assert index[0]["differs"] == {"drift": True, "flips": None}
    for name in ("one", "two"):
        assert story_check.check(tmp_path / "out" / name) == ""
    monkeypatch.setattr(shipping, "MOST_BYTES", 1_000)
    assert shipping.main([*arguments, "--only", "one"]) == 1
    assert "allowed are 1,000" in capsys.readouterr().out


def test_what_is_shipped_names_networks_that_come_with_the_project() -> None:
    studies = shipping.studies()
    assert len(studies) == 4
    for study in studies.values():
        assert set(study.models) <= set(zoo.cards())
        assert study.limit == 2_000


def test_a_shipped_report_is_found_as_one(monkeypatch: pytest.MonkeyPatch, report: Path) -> None:
    monkeypatch.setattr(kept, "SHIPPED", report.parent)
    (place, known), *_rest = kept.shipped()
    assert (place, known) == (report, facts())
    assert list(kept.read(place, known).found) == ["drift", "agreement", "flips"]


def test_facts_survive_json() -> None:
    assert Facts.from_json(json.loads(json.dumps(facts().to_json()))) == facts()
