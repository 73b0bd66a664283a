"""What the tests of the zoo's runner start as processes: a training on a small cue10, or a runner of a tiny plan.

`python -m tests.zoo_child train ...` trains; `python -m tests.zoo_child runner OUT EPOCHS` runs two tiny jobs.
"""

from __future__ import annotations

import sys
from pathlib import Path

from data import cue10
from xai import zoo_run
from xai.zoo_plan import Job
from xai.zoo_state import Settings

CHILD = (sys.executable, "-m", "tests.zoo_child")
LIMIT = 256


def tiny(seed: int, **settings: str) -> Job:
    """A narrow network on cue10, a second of work."""
    return Job("resnet18", "cue10", seed, options={"width": 8}, **settings)  # type: ignore[arg-type]


def main() -> int:
    """Be a training or a runner."""
    if sys.argv[1] == "train":
        cue10.SPLITS.update(dict.fromkeys(cue10.SPLITS, LIMIT))
        return zoo_run.train_as_child(sys.argv[1:])
    zoo_run.CHILD = CHILD
    settings = Settings(Path(sys.argv[2]), epochs=int(sys.argv[3]), limit=LIMIT)
    states, number = zoo_run.run([tiny(0), tiny(1)], settings, note=lambda text: print(text, flush=True))
    return number or int(any(found.kind != "done" for found in states.values()))


if __name__ == "__main__":
    sys.exit(main())
