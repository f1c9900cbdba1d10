"""A run of two small slides, and an archive that stands for OpenSeadragon's."""

import hashlib
import io
import tarfile
from contextlib import ExitStack

import numpy as np
import pytest
import tifffile

from tests.web.conftest import chromium, watched  # noqa: F401  a fixture
from tests.wsi.viewer.serving import served
from wsss_mm.patches import VOCABULARIES
from wsss_mm.wsi import SlideModel, segment_slide
from wsss_mm.wsi.viewer import openseadragon, write_overview

NAMES = ("first", "se<co>nd & 'third'")


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """Folders of slides (0.5 um/px) and of their results; one name is awkward."""
    folder = tmp_path_factory.mktemp("run")
    scans, results = folder / "scans", folder / "results"
    scans.mkdir()
    tall, wide = np.mgrid[:360, :500]
    image = np.stack([100 + wide // 5, 60 + tall // 4, 90 + 0 * wide], axis=-1).astype(np.uint8)
    image[:40] = 245

    def predict(images):
        red = images[..., 0] / 255.0
        return np.stack([red, 1 - red, 0 * red], axis=1).astype(np.float32)

    model = SlideModel(predict, VOCABULARIES["luad_normal"].classes, 1.0, "a" * 32)
    for name in NAMES:
        slide = scans / f"{name}.tiff"
        tifffile.imwrite(slide, image, tile=(64, 64), photometric="rgb", compression="zlib", metadata=None)
        segment_slide(slide, model, results / name, mpp_override=0.5, window=64, progress=False)
    write_overview(results)
    return scans, results


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """A stand-in whose checksum is expected."""
    path = tmp_path / "openslide_python.tar.gz"
    files = {
        "openslide/examples/deepzoom/static/openseadragon.js": b"var OpenSeadragon;",
        "openslide/examples/deepzoom/static/images/home_rest.png": b"png",
        "openslide/examples/deepzoom/static/jquery.js": b"other",
        "openslide/../../outside.png": b"bad",
    }
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    monkeypatch.setattr(openseadragon, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    return path


@pytest.fixture
def show(chromium):  # noqa: F811
    """Opens a page of an application; an error of the page, or of its policy, fails a test."""
    if not openseadragon.archive_path().is_file():
        pytest.skip("OpenSeadragon is not installed: wsss-mm view --setup")
    with ExitStack() as stack, watched(chromium) as empty:

        def opened(app, path):
            page = empty(base_url=f"http://127.0.0.1:{stack.enter_context(served(app))}")
            page.goto(path)
            return page

        yield opened
