"""Architectures, checkpoints and training. Knows neither `data` nor `xai`."""
