"""What tests of a sweep start as a process: `python -m tests.evaluation_child SCENES ARGUMENT...`, on a small cue10."""

from __future__ import annotations

import sys

import torch

from data import cue10
from xai.cli import main

if __name__ == "__main__":
    torch.set_num_threads(1)
    cue10.SPLITS["test"] = int(sys.argv[1])
    sys.exit(main(sys.argv[2:]))
