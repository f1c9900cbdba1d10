"""A project with slides and candidates, small or large, for the labelling page."""

import gzip
import http.client
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import numpy as np
import pandas as pd
import tifffile
from PIL import Image

from tests.warm import COMMAND, WarmProcess
from wsss_mm.cohort import Cohort
from wsss_mm.labelling.candidates import write_candidates

ROOT = Path(__file__).resolve().parents[3]
SIDE, PATCH = 1024, 64  # px, of slides and of patches


def make_project(folder: Path, slides: int = 3, candidates: int | None = None) -> pd.DataFrame:
    """Write params.yaml, slides of 1 um/px, and candidates of 64 px to a folder; gives the candidates.

    `candidates` of more than the slides' grids hold are laid over one another, a pixel apart.
    """
    (folder / "gates.yaml").write_bytes((ROOT / "gates.yaml").read_bytes())
    params = (ROOT / "params.yaml").read_text()
    for pattern in (r"(?m)^(patches:\n(?:  .*\n)*?  size: )\d+", r"(?m)^(  crop: )\d+"):
        params = re.sub(pattern, rf"\g<1>{PATCH}", params)
    (folder / "params.yaml").write_text(params)
    (folder / "vocabularies").symlink_to(ROOT / "vocabularies")
    cohort = folder / "data/cohort"
    (cohort / "slides").mkdir(parents=True)
    rng, rows, places = np.random.default_rng(5), ["slide_id,patient_id,site,path,split,mpp,roi,annotation"], []
    for number in range(slides):
        coarse = rng.integers(90, 230, (SIDE // 16, SIDE // 16, 3), dtype=np.uint8)
        image = np.asarray(Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        with tifffile.TiffWriter(cohort / f"slides/s{number}.tiff") as tiff:
            for level, step in enumerate((1, 4)):
                tiff.write(
                    image[::step, ::step],
                    tile=(256, 256),
                    photometric="rgb",
                    compression="jpeg",
                    subfiletype=int(level > 0),
                    metadata=None,
                )
        site = ("north", "")[number % 2]
        rows.append(f"s{number},p{number},{site},slides/s{number}.tiff,train,1.0,,")
        grid = [(x, y) for x in range(0, SIDE, PATCH) for y in range(0, SIDE, PATCH)]
        places += [(f"s{number}", f"p{number}", site or None, x, y) for x, y in grid]
    (cohort / "slides.csv").write_text("\n".join(rows) + "\n")
    if candidates is not None:
        extra, step = [], 1
        while len(places) + len(extra) < candidates:
            extra += [(s, p, site, x + step % 50, y + step // 50) for s, p, site, x, y in places if max(x, y) < 900]
            step += 1
        places = (places + extra)[:candidates]
    frame = pd.DataFrame(places, columns=["slide_id", "patient_id", "site", "x", "y"])
    frame["patch_id"] = frame["slide_id"] + "-" + frame["x"].astype(str) + "-" + frame["y"].astype(str)
    frame = frame.assign(split="train", mpp=1.0, size=PATCH, tissue=0.9, focus=50.0, haematoxylin=0.3, eosin=0.2)
    frame = frame.sort_values("patch_id", ignore_index=True)
    (folder / "data/candidates").mkdir()
    write_candidates(frame, folder / "data/candidates")
    return frame


def read_cohort(folder: Path) -> Cohort:
    """The cohort of the project."""
    return Cohort.read(folder / "data/cohort/slides.csv")


def picture(data: bytes) -> np.ndarray:
    """Pixels of a picture."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


class Page:
    """What the page does, over HTTP: one reader, one connection a request, as the server closes each."""

    def __init__(self, port: int, reader: str = "", cookie: str = "") -> None:
        self.port, self.cookie = port, cookie
        if reader:
            self.cookie = self._ask("GET", f"/?reader={reader}")[1]["Set-Cookie"].split(";")[0]
        self.renew()

    def renew(self) -> None:
        """Take the page's token."""
        self.token = re.search(r'token" content="([^"]+)"', self._ask("GET", "/")[2].decode())[1]

    def get(self, path: str):
        """The content of an answer: JSON, or bytes."""
        status, headers, data = self._ask("GET", path)
        assert status in (200, 202), (status, data)
        data = gzip.decompress(data) if headers["Content-Encoding"] == "gzip" else data
        return json.loads(data) if "json" in headers["Content-Type"] else data

    def post(self, path: str, name: str | None = None, **body):
        """The answer to a change."""
        text = json.dumps({"id": name or uuid4().hex, **body})
        headers = {"Content-Type": "application/json", "X-WSSS-Token": self.token}
        status, _, data = self._ask("POST", path, text, headers)
        assert status == 200, (status, data)
        return json.loads(data)

    def _ask(self, method: str, path: str, body: str | None = None, headers: dict | None = None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, body, {"Cookie": self.cookie, **(headers or {})})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()


@contextmanager
def running(folder: Path, *options: str, port: int = 0, cold: bool = False) -> Iterator[tuple[subprocess.Popen, int]]:
    """The server as a process of its own, killed at the end; gives it and its port.

    It has its libraries already (tests/warm.py), unless `cold` asks for a new process.
    """
    arguments = ["label", "--port", str(port), *options]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "OMP_NUM_THREADS": "1",
    }
    with (folder / "server.log").open("w+") as log:
        if cold:
            command = [sys.executable, "-m", "wsss_mm.cli.main", *arguments]
            process = subprocess.Popen(command, cwd=folder, stderr=log, stdout=log, env=environment)
        else:
            process = WarmProcess(COMMAND, *arguments, cwd=folder, stderr=log, env=environment)
        try:
            yield process, _port(process, folder / "server.log")
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _port(process: subprocess.Popen, log: Path) -> int:
    end = time.monotonic() + 180
    while time.monotonic() < end and process.poll() is None:
        if found := re.search(r"at https?://[^/]+:(\d+)/", log.read_text()):
            return int(found[1])
        time.sleep(0.02)
    raise AssertionError(log.read_text())
