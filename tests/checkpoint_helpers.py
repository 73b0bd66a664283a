"""What several tests of stored weights need."""

from pathlib import Path
from typing import Any


def assert_one_sentence(error: BaseException) -> None:
    """A message for a person: one line, ending in a full stop."""
    assert "\n" not in str(error)
    assert str(error).endswith(".")


class Payload:
    """Unpickling this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)
