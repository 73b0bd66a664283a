"""Every page of the app runs, every choice and every odd file gets an answer, and none of them a traceback."""

from __future__ import annotations

import ast
import math
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from streamlit.testing.v1 import AppTest

from data import degradations
from models import zoo
from tests.app_server import ROOT
from tests.explain_helpers import make_model
from tests.hostile_encoders import HostileFile, encode, scene
from tests.hostile_files import hostile_files
from tests.page_helpers import PAGES
from xai.attribution import METHODS
from xai.comparison import Comparison, Request, compare, picture_from_scene
from xai.ui import explaining, words
from xai.ui.memo import Memo, size_in_bytes
from xai.ui.widgets import plain

QUICK = [name for name in METHODS if METHODS[name].family != "perturbation"]
ODD_FILES = [
    file for number, file in enumerate(hostile_files()) if number % 20 == 0 and len(file.content) < 2**20
]


@pytest.fixture(autouse=True)
def _networks() -> None:
    if not any(zoo.is_shipped(name) for name in zoo.cards()):
        pytest.skip("no network ships with this checkout")


def started(**link: str | list[str]) -> AppTest:
    """The app as a new visitor meets it, with a link's entries."""
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
    for key, value in link.items():
        app.query_params[key] = value
    return app.run()


@pytest.fixture(scope="module")
def app() -> AppTest:
    """One visit with one network, whose choices a test may change if it puts them back."""
    app = started()
    return app.selectbox(key="b").set_value("").run()


def healthy(app: AppTest) -> bool:
    """No exception, no sentence of failure, and a figure."""
    return not app.exception and not app.error and len(app.image) == 1


def sentences(app: AppTest) -> list[str]:
    """All that the page says in warnings and errors, without Markdown's escapes."""
    return [element.value.replace("\\", "") for element in (*app.warning, *app.error)]


def test_the_table_of_pages_names_every_page() -> None:
    files = {path.stem for path in (ROOT / "xai/ui/pages").glob("*.py")}
    assert files == set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_a_dozen_statements(name: str) -> None:
    tree = ast.parse((ROOT / f"xai/ui/pages/{name}.py").read_text(encoding="utf-8"))
    assert len(tree.body) <= 12
    assert "torch" not in {node.names[0].name for node in ast.walk(tree) if isinstance(node, ast.Import)}


def test_painting_a_page_imports_nothing_heavy() -> None:
    code = (
        "import sys, xai.ui.loading, xai.ui.state, xai.ui.widgets\n"
        "print([m for m in ('torch', 'matplotlib', 'captum', 'pytorch_grad_cam', 'pandas') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_process_that_imports_the_app_does_not_start_it() -> None:
    """As processes do that read pictures for it, where they are not forked."""
    code = (
        "import runpy, threading\n"
        "runpy.run_path('app.py', run_name='__mp_main__')\n"
        "print([thread.name for thread in threading.enumerate()])"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "['MainThread']"


def test_the_first_visit_shows_a_scene_and_what_both_networks_say() -> None:
    app = started()
    assert healthy(app)
    words = " ".join(element.value for element in app.markdown)
    assert all(plain(app.selectbox(key=key).value) in words for key in "ab" if app.selectbox(key=key).value)
    assert "cue10 test 3" in app.caption[0].value
    assert dict(app.query_params) == {}


@pytest.mark.parametrize("method", QUICK)
def test_every_quick_method_draws(app: AppTest, method: str) -> None:
    app.switch_page("xai/ui/pages/explain.py").run()
    app.multiselect(key="methods").set_value([method]).run()
    assert healthy(app)


@pytest.mark.parametrize("name", degradations.DEGRADATIONS)
def test_every_degradation_draws_and_says_its_constants(app: AppTest, name: str) -> None:
    app.switch_page("xai/ui/pages/explain.py").run()
    app.selectbox(key="degradation").set_value(name).run()
    assert healthy(app)
    assert degradations.DEGRADATIONS[name].title in app.caption[0].value.replace("\\", "")


def test_severity_zero_is_the_clean_picture(app: AppTest) -> None:
    app.slider(key="severity").set_value(0.0).run()
    assert healthy(app)
    assert "degraded" not in " ".join(element.value for element in app.markdown)
    app.slider(key="severity").set_value(2.0).run()


def test_a_choice_nothing_can_serve_is_one_sentence(app: AppTest) -> None:
    app.switch_page("xai/ui/pages/explain.py").run()
    app.multiselect(key="methods").set_value([]).run()
    assert not app.exception
    assert len(app.error) == 1
    assert "No method" in sentences(app)[-1]
    app.multiselect(key="methods").set_value(["gradcam"]).run()
    assert healthy(app)


def test_choices_survive_another_page() -> None:
    app = started()
    app.slider(key="severity").set_value(1.5).run()
    app.number_input(key="scene").set_value(42).run()
    app.multiselect(key="methods").set_value(["hirescam", "layercam"]).run()
    app.switch_page("xai/ui/pages/about.py").run()
    app.switch_page("xai/ui/pages/explain.py").run()
    assert app.slider(key="severity").value == 1.5
    assert app.number_input(key="scene").value == 42
    assert app.multiselect(key="methods").value == ["hirescam", "layercam"]


def test_a_link_brings_the_choices_back() -> None:
    first = started()
    first.selectbox(key="degradation").set_value("fog").run()
    first.slider(key="severity").set_value(4.25).run()
    first.radio(key="source").set_value("sample").run()
    second = started(**dict(first.query_params))
    assert healthy(second)
    assert second.selectbox(key="degradation").value == "fog"
    assert second.slider(key="severity").value == 4.25
    assert second.radio(key="source").value == "sample"
    assert dict(second.query_params) == dict(first.query_params)


HOSTILE_LINKS: dict[str, dict[str, str | list[str]]] = {
    "script": {"a": "<script>alert(1)</script>"},
    "path": {"a": "../../etc/passwd", "sample": "../../../x"},
    "not a number": {"severity": "nan"},
    "infinite": {"severity": "1e999"},
    "out of range": {"severity": "-1", "scene": "99999999999999999999"},
    "not whole": {"scene": "١٢٣x"},
    "twice": {"degradation": ["fog", "snow"]},
    "unknown methods": {"methods": ["gradcam", "__class__"]},
    "long": {"target": "x" * 10_000},
    "many": {"layers_a": [f"layer{k}" for k in range(500)]},
    "unknown keys": {f"k{k}": "1" for k in range(100)},
    "upload": {"source": "upload:1"},
    "keys of the state": {"choices": "1", "uploader": "1", "verdicts": "x", "kept_uploads": "x"},
}


@pytest.mark.parametrize("topic", HOSTILE_LINKS)
def test_a_hostile_link_is_ignored_and_says_so(topic: str) -> None:
    app = started(**HOSTILE_LINKS[topic])
    assert healthy(app)
    said = [words for words in sentences(app) if words.startswith("The link asked")]
    assert len(said) == 1
    assert "<" not in said[0]
    assert app.slider(key="severity").value == 3.0


def upload(app: AppTest, *files: tuple[str, bytes]) -> AppTest:
    """The page after these files were uploaded together."""
    app.switch_page("xai/ui/pages/explain.py").run()
    app.radio(key="source").set_value("upload").run()
    uploader = app.file_uploader(key="uploader")
    uploader.set_value([(name, content, "image/png") for name, content in files])
    return app.run()


@pytest.fixture(scope="module")
def photograph() -> bytes:
    """A real photograph as a JPEG file."""
    import io

    from PIL import Image
    from skimage.data import astronaut

    buffer = io.BytesIO()
    Image.fromarray(astronaut()).save(buffer, "JPEG")
    return buffer.getvalue()


def test_a_bad_upload_is_one_sentence_and_the_others_go_on(photograph: bytes) -> None:
    app = upload(started(), ("text.png", b"not a picture"), ("astronaut.jpg", photograph), ("empty.png", b""))
    assert not app.exception
    assert not app.error
    said = sentences(app)
    assert sum("text.png" in sentence for sentence in said) == 1
    assert sum("empty.png" in sentence for sentence in said) == 1
    assert "astronaut.jpg" in app.caption[0].value.replace("\\", "")
    assert "512x512" in app.caption[0].value.replace("\\", "")


def test_uploads_survive_another_page_and_can_be_forgotten(photograph: bytes) -> None:
    app = upload(started(), ("astronaut.jpg", photograph))
    app.switch_page("xai/ui/pages/about.py").run()
    assert "which all visitors share" in " ".join(app.markdown[0].value.split())
    app.switch_page("xai/ui/pages/explain.py").run()
    assert healthy(app)
    assert "astronaut.jpg" in app.caption[0].value.replace("\\", "")
    next(button for button in app.button if button.label.startswith("Forget")).click().run()
    assert not app.image
    assert not app.exception
    assert app.session_state["verdicts"] == {}


def test_a_network_trained_again_is_loaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAI_MODELS", str(tmp_path))
    for seed in (0, 1):
        network = make_model("resnet18_cifar", 32, seed, width=8)
        card = replace(network.card, name="again", options={"width": 8})
        saved = zoo.save(network.network, card, tmp_path)
        explaining.cards.clear()
        assert explaining.model("again").card.sha256 == saved.sha256
    explaining.cards.clear()


@pytest.mark.parametrize("file", ODD_FILES, ids=lambda file: file.topic)
def test_odd_files_never_break_the_page(app: AppTest, file: HostileFile) -> None:
    upload(app, (file.name, file.content), ("good.png", encode(scene(), "PNG")))
    assert not app.exception
    assert not app.error
    refused = [words for words in sentences(app) if words.endswith(".") and "HiResCAM" not in words]
    assert len(refused) == (0 if file.expectation == "ok" else 1)
    assert len(app.image) == (2 if file.expectation == "ok" else 1)


def test_more_files_than_a_batch_holds_are_named(app: AppTest) -> None:
    content = encode(scene(), "PNG")
    upload(app, *((f"{number}.png", content) for number in range(52)))
    assert not app.exception
    assert any("2 of 52 files were left out" in words for words in sentences(app))


def test_faithfulness_is_computed_when_asked_for(app: AppTest) -> None:
    app.switch_page("xai/ui/pages/explain.py").run()
    app.selectbox(key="b").set_value("").run()  # pages that need two networks chose a second one
    app.radio(key="source").set_value("scene").run()
    before = len(app.image)
    app.checkbox(key="curves").check().run()
    assert not app.exception
    assert not app.error
    assert len(app.image) == before + 1
    assert "deletion \\(low is faithful\\)" in " ".join(element.value for element in app.markdown)
    app.checkbox(key="curves").uncheck().run()


def compared_scene() -> Comparison:
    """A comparison of one network that takes scenes of 64 x 64 as they are."""
    name = next(n for n, card in zoo.cards().items() if zoo.is_shipped(n) and card.input_size == 64)
    return compare(Request((name,)), picture_from_scene("test", 3), [zoo.load(name)])


def with_map(done: Comparison, values: torch.Tensor, mask: torch.Tensor) -> Comparison:
    """The same comparison with another clean map `(h, w)` and another mask of the object."""
    result = done.results[0]
    maps = {"gradcam": {"clean": replace(result.heatmaps["gradcam"]["clean"], values=values[None])}}
    picture = replace(done.picture, mask=mask)
    return replace(done, picture=picture, results=(replace(result, heatmaps=maps),))


@pytest.mark.parametrize(("agreement", "expected"), [(0.5, "0.50"), (0.95, ""), (math.nan, "not defined")])
def test_the_page_warns_when_grad_cam_is_not_what_it_seems(agreement: float, expected: str) -> None:
    done = compared_scene()
    found = replace(done, results=(replace(done.results[0], gradcam_hirescam=agreement),))
    said = [sentence for sentence in words.cautions(found) if "HiResCAM" in sentence]
    assert len(said) == bool(expected)
    assert all(done.results[0].model in sentence and expected in sentence for sentence in said)


def test_the_table_of_the_object_has_the_numbers_worked_by_hand() -> None:
    done = compared_scene()
    values, mask = torch.zeros(64, 64), torch.zeros(64, 64, dtype=torch.bool)
    mask[:32, :32] = True
    values[5, 5], values[50, 50], values[60, 60] = 3.0, 1.0, -4.0
    (row,) = words.object_rows(with_map(done, values, mask))
    assert list(row.values())[2:] == ["clean", "75%", "yes", "25%"]
    (row,) = words.object_rows(with_map(done, values.flip(0, 1), mask))
    assert list(row.values())[3:] == ["25%", "no", "25%"]
    (row,) = words.object_rows(with_map(done, torch.zeros(4, 4), mask))
    assert list(row.values())[3:] == ["not defined", "no", "25%"]
    other_size = with_map(done, values, mask[:32, :32])
    assert words.object_rows(other_size) == []
    assert "is left out: its input has 64 × 64 pixels" in words.object_notes(other_size)[-1]


def test_the_page_says_whether_maps_find_a_scene_s_object_and_only_there() -> None:
    app, label = started(), "Does the map find the object"
    (shown,) = [expander for expander in app.expander if expander.label == label]
    assert "middle of the highest cell inside" in shown.markdown[0].value
    app.radio(key="source").set_value("sample").run()
    assert label not in [expander.label for expander in app.expander]


def test_markdown_in_words_is_shown_as_it_is() -> None:
    assert plain("a *b* [c](d) :red[e] $f$ `g` <b>") == (r"a \*b\* \[c\]\(d\) \:red\[e\] \$f\$ \`g\` \<b\>")
    assert plain("one\n\n# two | three") == r"one \# two \| three"


def test_the_memo_computes_once_and_forgets_the_oldest() -> None:
    memo, calls = Memo(10_000), []

    def value(key: int) -> torch.Tensor:
        calls.append(key)
        return torch.zeros(1000)

    for key in (1, 2, 1, 3, 1, 2):
        memo(key, partial(value, key))
    assert calls == [1, 2, 3, 2]
    assert memo.bytes <= 10_000


def test_the_memo_counts_what_it_holds() -> None:
    assert size_in_bytes(torch.zeros(10, dtype=torch.float32)) == 240
    assert size_in_bytes({"a": [b"12345"], "b": (torch.zeros(1),)}) == 200 * 5 + 5 + 4


def test_the_memo_does_not_keep_failures() -> None:
    memo = Memo(1000)

    def fail() -> None:
        raise ValueError("no")

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            memo("key", fail)
    assert memo("key", lambda: 5) == 5


def test_two_threads_compute_one_key_once_and_other_keys_do_not_wait() -> None:
    memo, calls, release = Memo(10_000), [], threading.Event()

    def slow() -> int:
        calls.append("slow")
        release.wait(10)
        return 1

    threads = [threading.Thread(target=memo, args=("slow", slow)) for _ in range(4)]
    for thread in threads:
        thread.start()
    begin = time.monotonic()
    assert memo("quick", lambda: 2) == 2
    assert time.monotonic() - begin < 5
    release.set()
    for thread in threads:
        thread.join()
    assert calls == ["slow"]


def test_only_the_app_and_its_ui_know_streamlit() -> None:
    allowed = {ROOT / "app.py", *(ROOT / "xai/ui").rglob("*.py"), *(ROOT / "tests").glob("*.py")}
    for path in python_files():
        if path not in allowed:
            assert "streamlit" not in imported(path), path


def python_files() -> Iterator[Path]:
    """The project's own modules."""
    for folder in ("xai", "models", "data"):
        yield from (ROOT / folder).rglob("*.py")


def imported(path: Path) -> set[str]:
    """Top-level names of the modules a file imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    direct = {
        name.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for name in n.names
    }
    return direct | {(n.module or "").split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
