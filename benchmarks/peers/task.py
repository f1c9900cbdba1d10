"""The process of a contender: `python -m benchmarks.peers.task FOLDER THREADS SLIDE CONTENDER [OPTION ...]`."""

import json
import sys
import tempfile
from pathlib import Path

from benchmarks.peers import contenders


def main(folder: Path, threads: int, slide: str, name: str, *options: str) -> dict[str, float | str]:
    """What a contender says of a slide, warmed up on another, or of the network alone."""
    if name == "bare":
        return contenders.bare(folder, threads)
    slides = [folder / "warm.svs", folder / f"{slide}.svs"]
    with tempfile.TemporaryDirectory(dir=folder) as out:
        return getattr(contenders, name)(folder, threads, Path(out), slides, *options)


if __name__ == "__main__":
    place, cores, *rest = sys.argv[1:]
    sys.stdout.write(json.dumps(main(Path(place), int(cores), *rest)) + "\n")
