"""Whether this machine can compute in bfloat16: some virtual processors announce instructions that they refuse."""

from __future__ import annotations

import subprocess
import sys
from functools import cache

import torch

_SECONDS = 120
_PROBE = """
import torch
with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
    maps = torch.nn.Conv2d(16, 32, 3)(torch.rand(8, 16, 16, 16))
    torch.nn.Linear(32, 512)(maps.mean((2, 3)))
"""


def check(precision: str, device: str | torch.device) -> None:
    """Raise `ValueError` when the device would end the program at the first matrix product in this precision."""
    if precision == "bf16" and torch.device(device).type == "cpu" and not cpu_has_bf16():
        raise ValueError(
            "this processor announces bfloat16 instructions that it refuses to carry out; use the precision fp32, or "
            "set the environment variable ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 (or AVX2) and try again."
        )


@cache
def cpu_has_bf16() -> bool:
    """Tried once, in a process of its own, since an illegal instruction ends the process."""
    command = [sys.executable, "-c", _PROBE]
    return subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False).returncode == 0
