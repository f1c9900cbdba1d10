"""Patches by themselves and in shards: reading one at random, and what DVC does with all of them.

Two folders of the same patches, noise of their size, beside two projects of DVC whose remote is a folder of this disk:
in one each is a PNG by itself, in the other they lie in shards, of slides with 500 each. Reading is CPU time of this
process, in one order for both, the files in the system's memory. DVC's commands are new processes, by turns, each from
the same state; their times are those of all that they start (CPU), since others use the machine, and of the wall.

    OMP_NUM_THREADS=1 python -m benchmarks.patch_storage
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.command import Option, by_turns, cpu_of_children, run
from benchmarks.rows import Measurement
from wsss_mm.patches.images import read_image, write_image
from wsss_mm.patches.shards import pack_files

OPTIONS = {
    "patches": Option(10_000, 200, "patches in a folder"),
    "side": Option(224, 224, "px of each"),
    "reads": Option(1000, 200, "patches that are read, at random"),
}
OF_A_SLIDE = 500
PICTURES = 32
WAYS = ("shards", "files")  # what is measured, and what it is compared with


def fill(folder: Path, count: int, side: int) -> pd.DataFrame:
    """Noise, of which a PNG is as large as one of tissue; a few pictures, behind each of which stands its number."""
    rng, pictures = np.random.default_rng(0), list[bytes]()
    for number in range(min(count, PICTURES)):
        write_image(folder / f"{number}.png", rng.integers(120, 184, (side, side, 3), np.uint8))
        pictures.append((folder / f"{number}.png").read_bytes())
        (folder / f"{number}.png").unlink()
    rows = []
    (folder / "images").mkdir()
    for number in range(count):
        slide, path = f"slide-{number // OF_A_SLIDE:03d}", f"images/{number:06d}.png"
        (folder / path).write_bytes(pictures[number % PICTURES] + number.to_bytes(8, "big"))
        rows.append({"patch_id": f"{number:06d}", "slide_id": slide, "path": path})
    return pd.DataFrame(rows)


class Project:
    """A project of DVC without git, whose patches are not added yet, and whose remote is a folder beside it."""

    def __init__(self, root: Path) -> None:
        self.root, self.patches, self.remote = root, root / "patches", root.parent / f"{root.name}-remote"
        self._state = root / "state"
        root.mkdir()
        self.dvc("init", "--no-scm", "-q")
        self.dvc("remote", "add", "-q", "-d", "disk", str(self.remote))

    def dvc(self, *arguments: str) -> tuple[float, float]:
        """CPU seconds of a command and of all that it starts, and seconds on the wall."""
        environment = os.environ | {"DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(self._state)}
        command = [sys.executable, "-m", "dvc", *arguments]
        wall, cpu = time.perf_counter(), cpu_of_children()
        subprocess.run(command, cwd=self.root, env=environment, check=True, capture_output=True)
        return cpu_of_children() - cpu, time.perf_counter() - wall

    def forget(self, *paths: Path) -> None:
        """Delete what DVC would find and know again."""
        for path in (self._state, self.root / ".dvc/cache", self.root / ".dvc/tmp", *paths):
            shutil.rmtree(path, ignore_errors=True)

    def run(self) -> dict[str, tuple[float, float]]:
        """Each command once, from nothing to nothing to be done."""
        self.forget(self.remote)
        (self.root / "patches.dvc").unlink(missing_ok=True)
        found = {"dvc add": self.dvc("add", "-q", "patches"), "dvc push": self.dvc("push", "-q")}
        self.forget(self.patches)
        found["dvc pull"] = self.dvc("pull", "-q")
        found["dvc repro, nothing to be done"] = self.dvc("repro", "-q", "patches.dvc")
        return found


def measure(arguments) -> Iterator[Measurement]:
    with tempfile.TemporaryDirectory() as place:
        projects = {way: Project(Path(place) / way) for way in WAYS}
        rows = {"files": fill(projects["files"].patches, arguments.patches, arguments.side)}
        shutil.copytree(projects["files"].patches, projects["shards"].patches)
        rows["shards"] = pack_files(rows["files"], projects["shards"].patches, ("path",))
        chosen = np.random.default_rng(1).integers(0, arguments.patches, arguments.reads)
        size = f"{arguments.patches} patches of {arguments.side} px"
        yield _reading(projects, rows, chosen, size, arguments.repeats)
        rounds = [{way: projects[way].run() for way in WAYS} for _ in range(arguments.repeats)]
    for command in rounds[0]["files"]:
        for clock, name in enumerate(("CPU", "wall")):
            shards, files = ([found[way][command][clock] for found in rounds] for way in WAYS)
            yield Measurement(f"{command}, {size} in shards, {name}", shards, "s", over=files, over_what="a file each")


def _reading(
    projects: dict[str, Project], rows: dict[str, pd.DataFrame], chosen: np.ndarray, size: str, repeats: int
) -> Measurement:
    def reading(way: str) -> Callable[[], object]:
        paths = [projects[way].patches / path for path in rows[way]["path"].iloc[chosen]]
        return lambda: [read_image(path) for path in paths]

    shards, files = by_turns(*map(reading, WAYS), repeats=repeats)
    shards, files = ([1000 * seconds / len(chosen) for seconds in times] for times in (shards, files))
    what = f"reading a patch at random, {size} in shards"
    return Measurement(what, shards, "ms", over=files, over_what="a file each", at_most=1.05)


if __name__ == "__main__":
    sys.exit(run(measure, OPTIONS))
