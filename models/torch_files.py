"""What may be inside a torch file, decided before torch opens it: nothing of it is run, and little of it is believed.

A torch file is a ZIP archive with one pickle and the numbers beside it, or (before torch 1.6) five pickles in a row
and then the numbers. Here the archive's directory and the pickles' opcodes are looked through; `pickletools` reads
opcodes and carries none of them out. Only then does `torch.load(weights_only=True)` see the file.
"""

from __future__ import annotations

import pickletools
import re
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

ZIP_START = b"PK\x03\x04"
LEGACY_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The first pickle of an old torch file, a number that is always the same."""
_LEGACY_PICKLES = 5
MOST_OPCODES = 1_000_000
LARGEST_PICKLE = 64 * 2**20
LARGEST_DIRECTORY = 16 * 2**20
_ALLOWED = re.compile(
    r"collections (OrderedDict|Counter|defaultdict)"
    r"|torch\._utils (_rebuild_tensor|_rebuild_tensor_v2|_rebuild_parameter|_rebuild_parameter_with_state)"
    r"|torch(\.cuda)? [A-Za-z0-9]+Storage|torch\.storage (UntypedStorage|TypedStorage)"
    r"|torch (Size|device|bfloat16|bool|u?int\d{1,2}|float\d{1,2}(_[a-z0-9]+)?)"
    r"|torch\.nn\.parameter Parameter|_codecs encode|(builtins|__builtin__) (set|complex)"
)
"""Names that a pickle of weights mentions. torch allows some more, among them such as allocate what a file asks for."""
_NAMES_SHOWN = 3
_MEMO = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}
_READING_ERRORS = (ValueError, IndexError, KeyError, EOFError, OverflowError, struct.error, AttributeError)


class TorchFileError(ValueError):
    """A torch file that is not opened; the message is the rest of a sentence that begins with its name."""


class _Opcode(NamedTuple):
    name: str
    argument: Any


def check_archive(path: Path, max_bytes: int, most_entries: int) -> None:
    """Raise `TorchFileError` unless the ZIP archive is one as torch writes them, with nothing in it but weights."""
    try:
        with path.open("rb") as stream:
            _check_directory(stream)
        with zipfile.ZipFile(path) as archive:
            _check_entries(archive.infolist(), max_bytes, most_entries, path.stat().st_size)
            with archive.open(_pickle_name(archive.namelist())) as pickled:
                _check_names(_opcodes(pickled))
    except TorchFileError:
        raise
    except (zipfile.BadZipFile, NotImplementedError, OSError, RuntimeError, *_READING_ERRORS) as error:
        raise TorchFileError("is a torch file that is damaged or cut short") from error


def _check_directory(stream: IO[bytes]) -> None:
    """The directory's size, before it is read: every entry of it takes ten times as much memory."""
    end = zipfile._EndRecData(stream)  # type: ignore[attr-defined]
    if not end:
        raise TorchFileError("is a torch file that is damaged or cut short")
    if end[zipfile._ECD_SIZE] > LARGEST_DIRECTORY:  # type: ignore[attr-defined]
        raise TorchFileError("is an archive of far more parts than a network has")


def _check_entries(entries: list[zipfile.ZipInfo], max_bytes: int, most: int, size: int) -> None:
    if len(entries) > most:
        raise TorchFileError(f"is an archive of {len(entries):,} parts; allowed are {most:,}")
    if any(entry.filename.endswith("/constants.pkl") or "/code/" in entry.filename for entry in entries):
        raise TorchFileError("is a TorchScript archive, which holds code; save its state_dict() instead")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise TorchFileError("is a compressed archive, which torch never writes")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > max_bytes or unpacked > size:
        raise TorchFileError(f"would unpack to {unpacked:,} bytes from {size:,}; allowed are {max_bytes:,}")


def _pickle_name(names: list[str]) -> str:
    found = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(found) != 1:
        raise TorchFileError("is a ZIP archive, but not one that torch.save wrote")
    return found[0]


def check_legacy(path: Path) -> None:
    """Raise `TorchFileError` unless an old torch file mentions weights alone and none that is larger than the file."""
    size = path.stat().st_size
    try:
        with path.open("rb") as stream:
            for _pickle in range(_LEGACY_PICKLES):
                opcodes = list(_opcodes(stream))
                _check_names(opcodes)
                _check_storages(opcodes, size)
    except TorchFileError:
        raise
    except _READING_ERRORS as error:
        raise TorchFileError("is a torch file that is damaged or cut short") from error


def _opcodes(stream: IO[bytes]) -> Iterator[_Opcode]:
    """The opcodes of one pickle but for those that only remember values."""
    for number, (opcode, argument, position) in enumerate(pickletools.genops(stream)):
        if number > MOST_OPCODES or (position or 0) > LARGEST_PICKLE:
            raise TorchFileError("describes far more than the weights of a network")
        if opcode.name not in _MEMO:
            yield _Opcode(opcode.name, argument)


def _check_names(opcodes: Iterator[_Opcode] | list[_Opcode]) -> None:
    """Raise `TorchFileError` when a pickle mentions anything but weights and plain values."""
    foreign: dict[str, None] = {}
    for opcode in opcodes:
        if opcode.name in ("STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4"):
            raise TorchFileError(
                "is pickled in a way that torch does not read safely; save it with torch.save"
            )
        if opcode.name == "GLOBAL" and not _ALLOWED.fullmatch(str(opcode.argument)):
            foreign.setdefault(_readable(str(opcode.argument)))
    if foreign:
        names = [*foreign][:_NAMES_SHOWN]
        more = f" and {len(foreign) - len(names):,} more" if len(foreign) > len(names) else ""
        raise TorchFileError(
            f"holds Python objects besides weights ({', '.join(names)}{more}), which are never loaded; where they are "
            "trusted, save the weights alone, as in torch.save(model.state_dict(), PATH)"
        )


def _readable(name: str) -> str:
    """Module and name with a dot, without what a terminal or a page would obey."""
    return re.sub(r"[^\w.]", "_", name.replace(" ", "."))[:60]


def _check_storages(opcodes: list[_Opcode], size: int) -> None:
    """Old files say how many numbers follow, and torch makes room for them before it looks."""
    for index, opcode in enumerate(opcodes):
        if opcode.name not in ("BINPERSID", "PERSID"):
            continue
        usual = [each.name for each in opcodes[max(index - 2, 0) : index]] == ["NONE", "TUPLE"]
        count = opcodes[index - 3].argument if index >= 3 and usual else None
        if not isinstance(count, int) or not 0 <= count <= size:
            raise TorchFileError("describes weights that are not in it")
