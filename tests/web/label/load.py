"""How fast the labelling server is, and how much memory it takes; not a test.

    python -m tests.web.label.load data/cohort/slides.csv --candidates 50000 --answers 2000 --readers 8

From POST of an answer to the next patch's picture received, over HTTP, as the page does it: each reader in a thread of
its own, which waits a while between answers as people do.
"""

import argparse
import os
import random
import shutil
import statistics
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd

from tests.web.label.project import ROOT, Page, running
from wsss_mm.cohort import Cohort
from wsss_mm.labelling.candidates import write_candidates

SIZE, MPP = 224, 1.0


def make(folder: Path, table: Path, count: int) -> None:
    """A project of the slides of a table, with as many candidates as are wanted anywhere on them."""
    for name in ("params.yaml", "gates.yaml"):
        shutil.copy(ROOT / name, folder)
    (folder / "vocabularies").symlink_to(ROOT / "vocabularies")
    (folder / "data/cohort").mkdir(parents=True)
    rows, rng, found = ["slide_id,patient_id,site,path,split,mpp,roi,annotation"], np.random.default_rng(0), []
    slides = Cohort.read(table).with_files()
    for slide in slides:
        rows.append(f"{slide.slide_id},{slide.patient_id},,{slide.path.resolve()},{slide.split},{slide.mpp or ''},,")
        with slide.open() as scan:
            width, height = (side - int(SIZE * MPP / scan.mpp) for side in scan.size)
        places = rng.choice(width * height, -(-count // len(slides)), replace=False)
        found += [(slide.slide_id, slide.patient_id, slide.split, int(p % width), int(p // width)) for p in places]
    (folder / "data/cohort/slides.csv").write_text("\n".join(rows) + "\n")
    frame = pd.DataFrame(found[:count], columns=["slide_id", "patient_id", "split", "x", "y"])
    frame["patch_id"] = frame["slide_id"] + "-" + frame["x"].astype(str) + "-" + frame["y"].astype(str)
    frame = frame.assign(site=None, mpp=MPP, size=SIZE, tissue=0.9, focus=50.0, haematoxylin=0.3, eosin=0.2)
    (folder / "data/candidates").mkdir()
    write_candidates(frame.sort_values("patch_id", ignore_index=True), folder / "data/candidates")


def label(page: Page, code: str, arguments: argparse.Namespace, answers: int, out: list[tuple[float, float]]) -> None:
    """Answer patches; notes the seconds until each was saved, and until the next picture was there."""
    chance, done = random.Random(page.cookie), 0
    items = []
    while done < answers:
        if len(items) < 3:
            hand = ",".join(str(item["row"]) for item in items)
            items += page.get(f"/api/queue?order={arguments.order}&skip={hand}")["rows"]
            page.get(f"/image/{items[0]['row']}.jpg?part=patch")
        time.sleep(chance.uniform(0.5, 1.5) * arguments.pause)
        item, following = items.pop(0), items[0]
        began = time.perf_counter()
        page.post("/api/answer", row=item["row"], classes={code: "present"}, ticket=item["ticket"])
        saved = time.perf_counter()
        page.get(f"/image/{following['row']}.jpg?part=patch")
        out.append((saved - began, time.perf_counter() - began))
        page.get(f"/image/{following['row']}.jpg?part=context")
        page.get(f"/api/patch/{following['row']}?ticket={following['ticket']}")
        done += 1
        if arguments.order not in ("random", "slide") and done % 10 == 0:
            page.get("/api/curve")
            page.get("/api/embedding")


def _memory(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


def _work(pid: int) -> float:
    """CPU time so far, s."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--candidates", type=int, default=50_000)
    parser.add_argument("--answers", type=int, default=2000, help="of all readers together")
    parser.add_argument("--readers", type=int, default=1)
    parser.add_argument("--pause", type=float, default=0.0, help="s between a reader's answers, about")
    parser.add_argument("--memory", default="64", help="MiB for pictures")
    parser.add_argument("--order", default="random", help="another than by chance or slide needs features")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, arguments.table, arguments.candidates)
        readers = [f"r{number}" for number in range(arguments.readers)]
        options = ["--reader", *readers, "--memory", arguments.memory]
        options += ["--no-features"] if arguments.order in ("random", "slide") else []
        began = time.perf_counter()
        with running(folder, *options, cold=True) as (process, port):
            print(f"started in {time.perf_counter() - began:.1f} s; {_memory(process.pid):.0f} MiB")
            pages = [Page(port, reader) for reader in readers]
            began = time.perf_counter()
            pages[0].get("/api/rows")
            print(f"all rows in {time.perf_counter() - began:.2f} s")
            code = pages[0].get("/api/state")["vocabulary"][0]["code"]
            parts = 4
            for part in range(parts):
                took: list[tuple[float, float]] = []
                before = _work(process.pid)
                each = arguments.answers // parts // len(readers)
                threads = [threading.Thread(target=label, args=(page, code, arguments, each, took)) for page in pages]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                saved, shown = (sorted(1e3 * times[index] for times in took) for index in (0, 1))
                print(
                    f"{(part + 1) * each * len(readers)} answers: saved {_two(saved)}, next patch {_two(shown)} ms; "
                    f"{1e3 * (_work(process.pid) - before) / each / len(readers):.0f} ms of CPU each; "
                    f"{_memory(process.pid):.0f} MiB"
                )


def _two(values: list[float]) -> str:
    return f"median {statistics.median(values):.0f}, 95 % {values[int(0.95 * len(values))]:.0f}"


if __name__ == "__main__":
    main()
