"""A killed process is taken up where it was: same bytes, no finished band computed again."""

import json
import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests import warm
from tests.wsi.conftest import colour_predict
from wsss_mm.errors import InputError
from wsss_mm.files import write_json
from wsss_mm.patches import VOCABULARIES
from wsss_mm.places import SLIDE_FILES as FILES
from wsss_mm.places import SUMMARY
from wsss_mm.slide_parameters import DEFAULTS
from wsss_mm.wsi import SlideModel, segment_slide
from wsss_mm.wsi.engine import Rows
from wsss_mm.wsi.export import finished
from wsss_mm.wsi.journal import MapJournal
from wsss_mm.wsi.lattice import window_starts, window_stride
from wsss_mm.wsi.partial import partial_folder
from wsss_mm.wsi.rawmap import RawMap

ROOT = Path(__file__).resolve().parents[2]
WINDOW, OVERLAP = 64, 0.75
PAUSE = 0.02
"""s before each batch of windows in the process that is killed."""
RAW = {"map": "labels.raw", "probabilities": "2.raw", "confidence": "confidence.raw"}
"""What is half done of a map, by what it is of."""


def slowly_segment(slide, out, log, pause=0.0):
    """Segment, and note in `log` each window that the network sees, each batch `pause` seconds late."""

    def predict(images):
        time.sleep(pause)
        with Path(log).open("ab") as stream:
            stream.write(b"." * len(images))
        return colour_predict(images)

    model = SlideModel(predict, VOCABULARIES["luad_normal"].classes, 1.0, "a" * 32)
    options = {"window": WINDOW, "overlap": OVERLAP, "batch_size": 4, "min_island": 0, "progress": False}
    segment_slide(slide, model, out, mpp_override=1.0, probabilities=True, confidence=True, **options)


def _write_slide(path):
    rng = np.random.default_rng(0)
    image = np.repeat(np.repeat(rng.integers(20, 200, (40, 30, 3), np.uint8), 8, axis=0), 8, axis=1)
    tifffile.imwrite(path, image, tile=(64, 64), photometric="rgb", compression="zlib", metadata=None)
    return path


@pytest.fixture
def slide(tmp_path):
    return _write_slide(tmp_path / "s.tiff")


def _kill_in_the_middle(slide, out, log, row):
    """In another process, until the notes tell of so many rows; gives how many they told of."""
    code = f"import sys\nfrom tests.wsi.test_resume import slowly_segment\nslowly_segment(*sys.argv[1:], {PAUSE})"
    state = out / ".partial" / "state.json"
    with warm.WarmProcess(code, slide, out, log, env=os.environ, cwd=ROOT) as process:
        deadline = time.monotonic() + 60
        while not (state.is_file() and json.loads(state.read_text())["row"] >= row):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        assert process.wait() == 128 + signal.SIGKILL
    return json.loads(state.read_text())["row"]


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A slide, and the folder of its results as the kill of the process that segmented it left it."""
    folder = tmp_path_factory.mktemp("killed")
    slide = _write_slide(folder / "s.tiff")
    _kill_in_the_middle(slide, folder / "out", folder / "log", 1)
    return slide, folder / "out"


def test_killed_and_taken_up(slide, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    slowly_segment(slide, whole, tmp_path / "log0")
    finished = _kill_in_the_middle(slide, cut, tmp_path / "log1", 96)
    assert 96 <= finished < 320
    assert {path.name for path in cut.iterdir()} == {".partial", "..partial.lock"}  # nothing looks finished

    slowly_segment(slide, cut, tmp_path / "log2")
    for name in (*FILES, "probabilities.ome.tif", "confidence.tif"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes()
    assert not list(cut.glob(".*"))

    stride = window_stride(WINDOW, OVERLAP)
    lines, columns = window_starts(320, WINDOW, stride), window_starts(240, WINDOW, stride)
    left = sum(stop > finished for stop in [*lines[1:], 320])
    assert (tmp_path / "log0").stat().st_size == len(lines) * len(columns)
    assert (tmp_path / "log2").stat().st_size == left * len(columns)


@pytest.mark.parametrize(
    "damage", ["other key", "carry cut", "state cut", "map cut", "probabilities cut", "confidence cut"]
)
def test_notes_that_do_not_fit_are_not_built_on(killed, tmp_path, damage):
    slide, out = killed[0], tmp_path / "out"
    shutil.copytree(killed[1], out)
    state = out / ".partial" / "state.json"
    if damage == "other key":
        state.write_text(state.read_text().replace('"a' + "a" * 31, '"b' + "a" * 31))
    elif damage.partition(" ")[0] in RAW:  # its last pages were lost with the machine
        os.truncate(out / ".partial" / RAW[damage.partition(" ")[0]], 10)
    elif damage == "state cut":
        state.write_bytes(state.read_bytes()[:-20])
    else:
        carry = out / ".partial" / json.loads(state.read_text())["carry"]
        carry.write_bytes(carry.read_bytes()[:-1] + b"x")
    slowly_segment(slide, out, tmp_path / "log")
    stride = window_stride(WINDOW, OVERLAP)
    windows = len(window_starts(320, WINDOW, stride)) * len(window_starts(240, WINDOW, stride))
    assert (tmp_path / "log").stat().st_size == windows


def test_notes_that_fit_are_built_on(killed, tmp_path):
    """Or the damages of the test before would prove nothing."""
    shutil.copytree(killed[1], tmp_path / "out")
    slowly_segment(killed[0], tmp_path / "out", tmp_path / "log")
    stride = window_stride(WINDOW, OVERLAP)
    windows = len(window_starts(320, WINDOW, stride)) * len(window_starts(240, WINDOW, stride))
    assert (tmp_path / "log").stat().st_size < windows


def test_what_the_notes_tell_of_is_on_the_disk(slide, predict, tmp_path, monkeypatch):
    """A power cut after the notes were written must not take the rows they tell of."""
    events, write, sync, note = [], RawMap.write, RawMap.sync, MapJournal.write
    monkeypatch.setattr(RawMap, "write", lambda *args: (events.append(("write", args[0].path)), write(*args)))
    monkeypatch.setattr(RawMap, "sync", lambda item: (events.append(("sync", item.path)), sync(item)))
    monkeypatch.setattr(MapJournal, "write", lambda *args: (events.append(("note", None)), note(*args)))
    model = SlideModel(predict, VOCABULARIES["luad_normal"].classes, 1.0, "a" * 32)
    options = {"window": WINDOW, "probabilities": True, "confidence": True, "progress": False}
    segment_slide(slide, model, tmp_path / "out", mpp_override=1.0, **options)
    dirty = set()
    for kind, path in events:
        if kind == "write":
            dirty.add(path)
        elif kind == "sync":
            dirty.remove(path)
        else:
            assert not dirty
    assert sum(kind == "note" for kind, _ in events) > 3


def test_one_process_at_a_time(tmp_path):
    with (
        partial_folder(tmp_path / "out"),
        pytest.raises(InputError, match="another process is at work"),
        partial_folder(tmp_path / "out"),
    ):
        pass


def test_an_error_leaves_nothing_and_an_interruption_leaves_the_work(tmp_path):
    with pytest.raises(ValueError, match="defect"), partial_folder(tmp_path / "error"):
        raise ValueError("defect")
    assert not (tmp_path / "error").exists()
    with pytest.raises(KeyboardInterrupt), partial_folder(tmp_path / "stopped") as work:
        (work / "labels.raw").write_bytes(b"rows")
        raise KeyboardInterrupt
    assert (tmp_path / "stopped" / ".partial" / "labels.raw").read_bytes() == b"rows"


@pytest.mark.parametrize("error", [None, ValueError])
def test_who_comes_while_the_work_is_removed_is_told_so(tmp_path, monkeypatch, error):
    remove, told = shutil.rmtree, []

    def removing(path, **options):
        with pytest.raises(InputError, match="another process is at work") as caught, partial_folder(tmp_path / "out"):
            pytest.fail("began")
        told.append(caught.value)
        remove(path, **options)

    monkeypatch.setattr(shutil, "rmtree", removing)
    with suppress(ValueError), partial_folder(tmp_path / "out") as work:
        assert work.is_dir()
        if error:
            raise error
    assert len(told) == 1
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("content", ["[]", "1", '{"model": "a"}', '{"unreadable": []}'])
def test_damaged_notes_are_passed_over(tmp_path, content):
    key = {"a": 1}
    MapJournal(tmp_path, key).write(Rows(0, np.zeros((1, 2), np.uint8), None, np.ones((1, 1, 2), np.float32)), {})
    state = tmp_path / "state.json"
    assert MapJournal(tmp_path, key).read() is not None
    noted = json.loads(state.read_text())
    found = json.loads(content)
    state.write_text(json.dumps(noted | found if isinstance(found, dict) and "unreadable" in found else found))
    assert MapJournal(tmp_path, key).read() is None
    write_json(tmp_path / SUMMARY, found)
    for name in FILES[:-1]:
        (tmp_path / name).touch()
    assert finished(tmp_path, {"model": {"weights_md5": "a"}}, DEFAULTS) is None
