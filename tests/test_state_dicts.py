"""Files of weights: what people have is read, what would do harm is refused before it does any."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from models import state_dicts, torch_files
from models.state_dicts import Limits, StateDictError
from tests import import_helpers as helpers

WEIGHT = torch.arange(6.0).view(2, 3)


def saved(path: Path, content: Any, **how: Any) -> Path:
    torch.save(content, path, **how)
    return path


@pytest.mark.parametrize("key", [*state_dicts.WRAPPERS, "something"])
def test_weights_are_found_where_files_have_them(key: str, tmp_path: Path) -> None:
    content = {"epoch": 3, key: {"a": WEIGHT}, "optimizer": {"state": {0: {"m": WEIGHT}}, "x": {"b": WEIGHT}}}
    found = state_dicts.read(saved(tmp_path / "a.pth", content))
    assert [each.path for each in found.found] == [key]
    assert (found.kind, found.others) == ("torch", ("epoch", "optimizer"))
    assert torch.equal(state_dicts.weights(found.choose())["a"], WEIGHT)


@pytest.mark.parametrize("how", [{}, {"_use_new_zipfile_serialization": False}])
def test_both_forms_of_torch_files_are_read(how: dict[str, bool], tmp_path: Path) -> None:
    content = OrderedDict(a=torch.nn.Parameter(WEIGHT), b=WEIGHT.t(), c=torch.tensor(5))
    found = state_dicts.read(saved(tmp_path / "a.pth", content, **how))
    weights = state_dicts.weights(found.choose())
    assert torch.equal(weights["a"], WEIGHT)
    assert torch.equal(weights["b"], WEIGHT.t())
    assert weights["c"].dtype == torch.int64
    assert not weights["a"].requires_grad


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_every_precision_becomes_float32(kind: torch.dtype, tmp_path: Path) -> None:
    save_file({"a": WEIGHT.to(kind)}, tmp_path / "a.safetensors")
    found = state_dicts.read(tmp_path / "a.safetensors")
    assert found.choose().kinds == f"{str(kind).removeprefix('torch.')} (1)"
    weights = state_dicts.weights(found.choose())
    assert weights["a"].dtype == torch.float32
    assert torch.equal(weights["a"], WEIGHT)


@pytest.mark.parametrize("key", ["ema", "model_ema", "state_dict_ema", "ema_state_dict"])
def test_a_running_average_is_taken_only_when_asked_for(key: str, tmp_path: Path) -> None:
    content = {key: {"a": WEIGHT + 1, "b": WEIGHT}, "model": {"a": WEIGHT}}
    found = state_dicts.read(saved(tmp_path / "a.pth", content))
    assert found.choose().path == "model"
    assert not found.choose().average
    for asked in ("ema", key):
        assert found.choose(asked).path == key
        assert found.choose(asked).average
    with pytest.raises(StateDictError, match="no weights under 'swa'; allowed are 'model', "):
        found.choose("swa")


def test_an_average_is_found_inside_its_wrapper_and_alone(tmp_path: Path) -> None:
    nested = {"model_ema": {"state_dict": {"a": WEIGHT}, "decay": 0.99}}
    found = state_dicts.read(saved(tmp_path / "a.pth", nested))
    assert (found.choose().path, found.choose().average) == ("model_ema.state_dict", True)


def test_weights_read_are_the_readers_own(tmp_path: Path) -> None:
    """Numbers of a file are not those of its mapped memory, and two names of one storage are two weights."""
    path = saved(tmp_path / "a.pth", {"a": WEIGHT, "b": WEIGHT})
    weights = state_dicts.weights(state_dicts.read(path).choose())
    weights["a"].zero_()
    assert torch.equal(weights["b"], WEIGHT)
    assert torch.equal(state_dicts.weights(state_dicts.read(path).choose())["a"], WEIGHT)


def _harmful(tmp_path: Path) -> dict[str, Any]:
    return {"state_dict": {"a": WEIGHT}, "extra": helpers.Harm(tmp_path / "harm")}


def _code(path: Path) -> None:
    saved(path, _harmful(path.parent))


def _old_code(path: Path) -> None:
    saved(path, _harmful(path.parent), _use_new_zipfile_serialization=False)


def _bare_code(path: Path) -> None:
    path.write_bytes(pickle.dumps(helpers.Harm(path.parent / "harm")))


def _code_behind_weights(path: Path) -> None:
    """An old file with a fifth pickle, the list of weights, that is none."""
    buffer = io.BytesIO()
    torch.save({"a": WEIGHT}, buffer, _use_new_zipfile_serialization=False)
    stream = io.BytesIO(buffer.getvalue())
    for _pickle in range(4):
        list(torch_files.pickletools.genops(stream))
    path.write_bytes(buffer.getvalue()[: stream.tell()] + pickle.dumps(helpers.Harm(path.parent / "harm"), 2))


def _objects(path: Path) -> None:
    saved(path, {"state_dict": {"a": WEIGHT}, "args": SimpleNamespace(lr=1)})


def _truncated(path: Path) -> None:
    saved(path, {"a": torch.zeros(1000)})
    path.write_bytes(path.read_bytes()[:-300])


def _truncated_old(path: Path) -> None:
    saved(path, {"a": torch.zeros(1000, 2)}, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:-300])


def _huge_old(path: Path) -> None:
    """An old file that says a hundred thousand million numbers follow."""
    saved(path, {"a": torch.zeros(113, 1)}, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    at = content.index(b"K\x71N") if b"K\x71N" in content else content.index(b"K\x71")
    path.write_bytes(content[:at] + b"\x8a\x05" + (10**11).to_bytes(5, "little") + content[at + 2 :])


def _expanded(path: Path) -> None:
    saved(path, {"a": torch.zeros(1).expand(2**20, 2**20)})


def _bomb(path: Path) -> None:
    saved(path, {"a": torch.zeros(2000, 2000)})
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def _script(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            archive.writestr(f"model/{name}", "")


def _numbered(path: Path) -> None:
    saved(path, {0: WEIGHT, 1: WEIGHT})


def _deep(path: Path) -> None:
    content: dict[str, Any] = {"a": WEIGHT}
    for _level in range(200):
        content = {"state_dict": content}
    saved(path, content)


def _deep_pickle(path: Path) -> None:
    helpers.with_pickle(path, b"\x80\x02" + b"]" * 20_000 + b"a" * 19_999 + b".")


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "code": (_code, r"Python objects besides weights \(__builtin__.exec\)"),
    "code in an old file": (_old_code, r"Python objects besides weights \(__builtin__.exec\)"),
    "code alone": (_bare_code, "neither a safetensors file nor"),
    "code behind the weights": (_code_behind_weights, r"Python objects besides weights \(__builtin__.exec\)"),
    "objects": (_objects, r"\(types.SimpleNamespace\).* save the weights alone"),
    "cut short": (_truncated, "damaged or cut short"),
    "cut short, old": (_truncated_old, "damaged, cut short or made to harm"),
    "more numbers than there are": (lambda path: helpers.enlarged(path, 2**30), "damaged, cut short or made to harm"),
    "more numbers than there are, old": (_huge_old, "describes weights that are not in it"),
    "one number as a huge weight": (_expanded, "describes weights of 4,398,046,511,104 bytes"),
    "memory on request": (helpers.allocating, r"Python objects besides weights \(builtins.bytearray\)"),
    "a compressed archive": (_bomb, "compressed archive"),
    "a script": (_script, "TorchScript archive"),
    "numbers for names": (_numbered, "names a weight by a int"),
    "deeply nested": (_deep, "holds no weights by name; it holds 'state_dict'"),
    "deeply nested pickle": (_deep_pickle, "holds a list"),
    "no weights": (lambda path: saved(path, {"epoch": 3, "name": "x"}), "no weights by name; it holds 'epoch', 'name'"),
    "a tensor": (lambda path: saved(path, WEIGHT), "holds a Tensor"),
    "a number": (lambda path: saved(path, 3), "holds a int"),
    "complex numbers": (lambda path: saved(path, {"a": WEIGHT + 1j}), r"kind that holds no weights \(complex64"),
    "a sparse weight": (lambda path: saved(path, {"a": WEIGHT.to_sparse()}), "_rebuild_sparse_tensor"),
    "a weight without numbers": (lambda path: saved(path, {"a": WEIGHT.to("meta")}), "_rebuild_meta_tensor_no_storage"),
    "a very long name": (lambda path: saved(path, {"a" * 1000: WEIGHT}), "a name of 1,000 characters"),
    "nothing": (lambda path: path.write_bytes(b""), "has 0 bytes"),
    "text": (lambda path: path.write_text("hello, world"), "neither a safetensors file nor"),
    "a ZIP archive": (lambda path: zipfile.ZipFile(path, "w").writestr("a.txt", "x"), "not one that torch.save wrote"),
    "half a safetensors": (lambda path: path.write_bytes(helpers.header(0, [4, 4], 64)), "safetensors file that is"),
    "a huge safetensors": (
        lambda path: path.write_bytes(helpers.header(0, [2**30, 2**10], 2**42)),
        "safetensors file that is damaged",
    ),
    "a huge header": (lambda path: path.write_bytes(helpers.header(2**40, [1, 1], 4)), "safetensors file that is"),
    "a folder": (lambda path: path.mkdir(), "does not exist or is no file"),
    "no file": (lambda path: None, "does not exist or is no file"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_in_one_sentence_and_run_nothing(name: str, tmp_path: Path) -> None:
    make, words = HOSTILE[name]
    make(tmp_path / "bad.pth")
    with pytest.raises(StateDictError, match=words) as error:
        state_dicts.read(tmp_path / "bad.pth")
    assert str(error.value).startswith("bad.pth ")
    assert str(error.value).count("\n") == 0
    assert not (tmp_path / "harm").exists()


def test_the_harmful_pickle_of_these_tests_does_harm(tmp_path: Path) -> None:
    """Else nothing would be tested above."""
    pickle.loads(pickle.dumps(helpers.Harm(tmp_path / "harm")))
    assert (tmp_path / "harm").exists()


def test_limits_hold(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", {"a": torch.zeros(64, 64), "b": WEIGHT})
    with pytest.raises(StateDictError, match=r"has [\d,]+ bytes; allowed are 1 to 1,000"):
        state_dicts.read(path, limits=Limits(max_bytes=1000))
    with pytest.raises(StateDictError, match="2 tensors; allowed are 1"):
        state_dicts.read(path, limits=Limits(max_tensors=1))
    save_file({"a": torch.zeros(64, 64, dtype=torch.float16)}, tmp_path / "b.safetensors")
    with pytest.raises(StateDictError, match="describes weights of 16,384 bytes; allowed are 10,000"):
        state_dicts.read(tmp_path / "b.safetensors", limits=Limits(max_bytes=10_000))


def test_a_long_pickle_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_files, "MOST_OPCODES", 10)
    with pytest.raises(StateDictError, match="far more than the weights of a network"):
        state_dicts.read(saved(tmp_path / "a.pth", {"a": WEIGHT}))


def test_names_are_shown_without_what_a_terminal_obeys(tmp_path: Path) -> None:
    assert state_dicts.shown("a\x1b[31m\n" + "b" * 200) == "a?[31m?" + "b" * 112 + "…"
    path = saved(tmp_path / "a.pth", {"\x1b[2J": 3, "a": WEIGHT})
    assert state_dicts.read(path).others == ("?[2J",)
