"""Makes the report of a manifest again: the same networks, images, settings and sections, and so the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from models import zoo
from models.registry import Model
from xai.compare import light, run, story, story_check, story_manifest
from xai.compare.bench import Bench
from xai.compare.clock import Told
from xai.compare.run import Compared
from xai.compare.sections import section
from xai.compare.story_manifest import Held
from xai.compare.study import Facts
from xai.manifests import ManifestError

COMPARISON = "comparison.json"


def reproduce_files(
    content: bytes,
    image: Path | None = None,
    load: Callable[[str], Model] = zoo.load,
    told: Told | None = None,
) -> dict[str, bytes]:
    """The files of a manifest's report, computed again, with `comparison.json`: whether the numbers are the same
    and which is the first that is not. Rows of a light report are made coarse as its own are.

    Raises `ManifestError` with one sentence when a network, the images or a section are others than the manifest
    names, and for a picture, as there is none to give.
    """
    if image is not None:
        raise ManifestError(f"The picture {image.name} was given, but a comparison is of a dataset.")
    held = story_manifest.read(content)
    _check_sections(held)
    bench = Bench(held.facts.study, load)
    _check_facts(held.facts, bench.facts)
    compared = run.run(bench, None, [*held.versions, *held.skipped], told)
    if held.light:
        coarse = {name: light.rows(tables) for name, tables in compared.rows.items()}
        compared = run.summarised(compared.facts, coarse, compared.skipped, failed=compared.failed)
    files = story.files(compared, bench, story.Options(held.pictures))
    return {**files, COMPARISON: _comparison(held, compared)}


def _comparison(held: Held, compared: Compared) -> bytes:
    """Whether the numbers are those of the manifest, None for one that does not have them."""
    if held.numbers is None:
        return story_manifest.as_json({"same": None, "failed": compared.failed})
    first = story_check.difference(held.numbers, story.numbers_of(compared))
    words = {"same": not first, "first difference": first, "failed": compared.failed}
    return story_manifest.as_json(words)


def _check_sections(held: Held) -> None:
    """Raise `ManifestError` for a section of another version."""
    for name, version in held.versions.items():
        if section(name).version != version:
            raise ManifestError(
                f"The section {name} of the manifest has version {version}; this program has "
                f"{section(name).version}."
            )


def _check_facts(held: Facts, found: Facts) -> None:
    """Raise `ManifestError` unless networks and images are those of the manifest."""
    for before, now in zip(held.networks, found.networks, strict=True):
        if before.sha256 != now.sha256:
            raise ManifestError(
                f"The checkpoint {now.name} is not the one in the manifest: its sha256 differs."
            )
        if before.peers != now.peers:
            raise ManifestError(
                f"The manifest compares {now.name} with its peers {', '.join(before.peers) or 'none'}; this machine "
                f"has {', '.join(now.peers) or 'none'}."
            )
    if held.data_sha256 != found.data_sha256:
        raise ManifestError(
            f"The images of {found.study.dataset} {found.study.split} are not those of the manifest: their sha256 "
            "differs."
        )
    if held.to_json() != found.to_json():
        raise ManifestError("The networks or images are not described as the manifest describes them.")
