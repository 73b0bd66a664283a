"""The commands of `python -m xai`: each module has `add(commands)`, which adds its parsers."""
