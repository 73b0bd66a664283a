"""Makes the comparisons that come with the project: `python -m xai.compare.shipping`, most of an hour on two cores.

AlexNet against the ResNet-18 with a CIFAR stem, and the two stems of ResNet-18 against each other, on the test splits
of `cifar10-jpeg` (numbers only, no image of it) and of `cue10` (with pictures). Each is a report that can be read,
checked (`python -m xai compare --check`) and made again, without what is large: PDFs, LaTeX, and tables as files.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from data.storage import cache_folder
from xai.compare import kept, light, run, story, story_manifest
from xai.compare.bench import Bench
from xai.compare.run import Compared
from xai.compare.study import Study

INDEX = "index.json"
MOST_BYTES = 8_000_000
"""All that is shipped, together."""
PAIRS = (("alexnet", "resnet18_cifar-w16"), ("resnet18_cifar-w16", "resnet18"))
WITH_PICTURES = {"cifar10-jpeg": False, "cue10": True}
"""The datasets, and whether their images may be shown."""


def studies() -> dict[str, Study]:
    """Every comparison that is shipped, by the name of its folder."""
    return {
        f"{a}-{b}-{dataset}": Study((f"{a}-{dataset}-s0", f"{b}-{dataset}-s0"), dataset)
        for dataset in WITH_PICTURES
        for a, b in PAIRS
    }


def ship(name: str, study: Study, work: Path, out: Path) -> Compared:
    """Compare, or go on where that was stopped, and write the light report into `out/NAME`.

    Raises `Cancelled`, and `ValueError` when a section could not be answered.
    """
    with tqdm(
        total=1.0, desc=name, file=sys.stderr, bar_format="{desc} {percentage:3.0f}%|{bar}| {postfix}"
    ) as bar:

        def told(done: float, total: float, what: str) -> None:
            bar.set_postfix_str(what, refresh=False)
            bar.update(max(0.0, done / total - bar.n))

        bench = Bench(study)
        found = run.run(bench, work / name / kept.ROWS, told=told)
    if found.failed:
        raise ValueError("; ".join(f"{section}: {why}" for section, why in found.failed.items()))
    rows = {section: light.rows(tables) for section, tables in found.rows.items()}
    compared = run.summarised(found.facts, rows, found.skipped)
    story.write(compared, out / name, bench, story.Options(WITH_PICTURES[study.dataset], light=True))
    return compared


def index(shipped: Mapping[str, Compared], out: Path) -> bytes:
    """What is shipped: of each report its folder, networks, images, verdicts and size in bytes."""
    entries = [
        {
            "folder": name,
            "models": list(one.facts.study.models),
            "dataset": one.facts.study.dataset,
            "images": one.facts.images,
            "verdicts": {section: found.verdict for section, found in one.found.items()},
            "differs": {section: found.differs for section, found in one.found.items()},
            "bytes": sum(path.stat().st_size for path in _files(out / name)),
        }
        for name, one in shipped.items()
    ]
    return story_manifest.as_json(entries)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the reports and their index; exit status 1 when they are larger than allowed."""
    parser = argparse.ArgumentParser(prog="python -m xai.compare.shipping", description=__doc__)
    parser.add_argument("--out", type=Path, default=kept.SHIPPED)
    parser.add_argument("--work", type=Path, default=cache_folder() / "shipping", help="where rows are kept")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=studies(), default=list(studies()))
    chosen = parser.parse_args(arguments)
    shipped = {name: ship(name, studies()[name], chosen.work, chosen.out) for name in chosen.only}
    (chosen.out / INDEX).write_bytes(index(shipped, chosen.out))
    total = sum(path.stat().st_size for path in _files(chosen.out))
    for path in _files(chosen.out):
        print(f"{path.stat().st_size:>9,} {path.relative_to(chosen.out)}")
    print(f"{total:>9,} bytes together; allowed are {MOST_BYTES:,}")
    return 0 if total <= MOST_BYTES else 1


if __name__ == "__main__":
    raise SystemExit(main())
