"""How many images at a time, from measurement."""

from __future__ import annotations

from torch import Tensor

_PIXELS_CPU = 32 * 32 * 64
_PIXELS_GPU = 224 * 224 * 64


def batch_size(images: Tensor, *, gradient: bool = False) -> int:
    """Images per forward pass that were quickest on this kind of device, for images of this size.

    On a CPU small batches win as soon as the feature maps outgrow its caches; with `gradient` half as many.
    """
    budget = _PIXELS_GPU if images.device.type == "cuda" else _PIXELS_CPU
    count = max(8, min(64, budget // (images.shape[-1] * images.shape[-2])))
    return count // 2 if gradient else count
