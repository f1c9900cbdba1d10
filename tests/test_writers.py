"""Ten who read, change and write the same file at once: nothing of anybody is lost, and nobody meets half a file."""

import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tifffile
import yaml

from studies.rows import add_row, read_rows
from tests.wsi.conftest import colour_predict, make_tissue
from wsss_mm import places
from wsss_mm.cli.main import main
from wsss_mm.cohort.adding import NewSlide
from wsss_mm.cohort.adopt import Memory
from wsss_mm.cohort.cohort import Slide
from wsss_mm.cohort.editing import add_slides, change_slides
from wsss_mm.cohort.editing import read_slide_rows as slides_of
from wsss_mm.files import atomic_folder, write_json
from wsss_mm.gates import GATES, report_path
from wsss_mm.gates.champion import Pin, Rival, read_pin, write_pin
from wsss_mm.gates.page import render_page, write_page
from wsss_mm.labelling import Journal, new_entry
from wsss_mm.labelling.settled import write_labels
from wsss_mm.patches import VOCABULARIES
from wsss_mm.patches.quarantine import Entry, add_entries, read_quarantine, remove_entries
from wsss_mm.settings import render_gates
from wsss_mm.tables import read_table
from wsss_mm.tracking import local
from wsss_mm.web.label.doors import Doors
from wsss_mm.wsi import SlideModel, segment_slide
from wsss_mm.wsi.cohort import JobResult, write_table
from wsss_mm.wsi.viewer import write_overview

WRITERS = 10
ALL = {f"w{number}" for number in range(WRITERS)}
HERE = {"slide": "s1", "y": 0, "mpp": 1.0, "size": 224}
LABEL = {"slide_id": "s", "y": "0", "labels": "TE"}
_made: dict[str, Any] = {}


@dataclass(frozen=True)
class Case:
    """A file that many change.

    Attributes:
        write: What the writer of this name does in the current folder.
        check: Fails if something of anybody is not there.
        prepare: Makes what is there before.
    """

    write: Callable[[str], object]
    check: Callable[[], object]
    prepare: Callable[[], object] = lambda: None


def equal(found, wanted):
    assert found == wanted


def new_slide(name):
    return NewSlide(Path(f"{name}.svs"), True, {"slide_id": name, "patient_id": name, "site": "", "split": "train"})


def change_own(name):
    """A row of one's own is added by one, and then changed."""
    add_slides(Path("slides.csv"), [new_slide(name)])
    change_slides(Path("slides.csv"), [name], {"site": f"of {name}"})


def quarantine(name):
    """Two entries are added, and one is taken off again."""
    add_entries([Entry("patch", one, "", "", "why", "me", "2026-01-01") for one in (name, f"{name}-b")])
    remove_entries([f"{name}-b"])


def prepare_profile():
    shutil.copyfile(Path(__file__).parents[1] / "dvc.yaml", "dvc.yaml")
    Path("slides.csv").write_text("slide_id,patient_id,path,split\n")


def write_profile(name):
    profile = ("slides", "tiny")[int(name[1:]) % 2]
    source = Path("slides.csv") if profile == "slides" else Path(__file__).parents[1] / "wsss_mm/slides/phantom"
    assert main(["profile", profile, "--source", str(source)]) == 0


def check_profile():
    """The three files are of one profile."""
    name = yaml.safe_load(Path("params.yaml").read_text())["cohort"]["name"]
    profile = {"slides": "slides", "phantom": "tiny"}[name]
    assert Path("gates.yaml").read_text() == render_gates(profile)
    stages = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]
    assert [stage for stage in stages if "always_changed" in stages[stage]] == ["cohort"] * (profile == "slides")


def write_result(name):
    shutil.copytree(_made["result"], f"results/{name}")
    write_overview(Path("results"))


def check_overview():
    page = Path("results/index.html").read_text()
    assert all(f"{name}/overlay.png" in page for name in ALL)


def write_gate(name):
    gate = tuple(GATES)[int(name[1:]) % len(GATES)]
    write_json(report_path(gate), {"gate": gate, "passed": True, "checks": []})
    write_page(Path())


def remember(name):
    memory = Memory(places.SEEN)
    Path(f"{name}.svs").write_text(name)
    memory.keep(Slide(name, name, "", "train", Path(f"{name}.svs"), None, None, None, None), {"bytes": 2})
    memory.write()


def check_memory():
    """One's memory, whole: what others found is looked at again."""
    content = json.loads(places.SEEN.read_text())
    assert len(content) == 1
    assert set(content) < ALL


def label(name):
    for x in range(3):
        entry = new_entry("answer", **HERE, x=int(name[1:]), classes={"TE": "present"})
        Journal(Path("labels/ann.jsonl"), "ann").append([entry | {"seconds": float(x)}])


def make_model(name):
    with atomic_folder(Path("models/segmenter")) as folder:
        for file in ("weights.pth", "model.json"):
            (folder / file).write_text(name)


def check_model():
    """Of one writer, whole."""
    assert sorted(path.name for path in Path("models/segmenter").iterdir()) == ["model.json", "weights.pth"]
    assert len({path.read_text() for path in Path("models/segmenter").iterdir()}) == 1


def hold_run(name):
    _made[name] = run = local.begin(local.Head(id=name, store=""))
    if name == "w0":
        run.remove()


CASES = {
    "slides.csv of results": Case(
        lambda name: write_table(Path("slides.csv"), [JobResult(name, error="why")], update=True),
        lambda: equal(set(read_table(Path("slides.csv"), (), absent="", remedy="")["slide_id"]), ALL),
    ),
    "slides.csv of a cohort": Case(
        change_own,
        lambda: equal(
            {row["slide_id"]: row["site"] for row in slides_of(Path("slides.csv")).values()},
            {name: f"of {name}" for name in ALL},
        ),
    ),
    "quarantine.csv": Case(
        quarantine,
        lambda: equal({entry.id for entry in read_quarantine()}, ALL),
    ),
    "params.yaml, gates.yaml and dvc.yaml": Case(write_profile, check_profile, prepare_profile),
    "champion.json": Case(
        lambda name: write_pin(Path(), Pin("m", Rival(name, name, 0.5, "s"))),
        lambda: equal(read_pin(Path()).champion.version in ALL, True),
    ),
    "index.html of results": Case(write_result, check_overview),
    "index.html of gates": Case(write_gate, lambda: equal(Path(places.GATES_PAGE).read_text(), render_page(Path()))),
    "memory of stage cohort": Case(remember, check_memory),
    "runs at work": Case(
        hold_run, lambda: equal({path.parent.name for path in places.UNSENT.glob("*/run.jsonl")}, ALL - {"w0"})
    ),
    "a journal": Case(
        label,
        lambda: equal(
            sorted((entry["x"], entry["seconds"]) for entry in Journal(Path("labels/ann.jsonl"), "ann").entries()),
            [(x, float(times)) for x in range(WRITERS) for times in range(3)],
        ),
    ),
    "labels.csv": Case(
        lambda name: write_labels(Path("labels.csv"), [{**LABEL, "x": name}] * 100),
        lambda: equal(
            len(set(read_table(Path("labels.csv"), (), absent="", remedy="")["x"])),
            1,
        ),
    ),
    "readers.json": Case(
        lambda name: Doors([name], Path("label"), guarded=True).new_secrets(),
        lambda: equal(set(json.loads(Path("label/readers.json").read_text())["readers"]), ALL),
    ),
    "rows of a study": Case(
        lambda name: add_row(Path("study.jsonl"), {"name": name, "more": "x" * 5000}),
        lambda: equal({row["name"] for row in read_rows(Path("study.jsonl"))}, ALL),
    ),
    "a model": Case(make_model, check_model),
}


def segmented(folder: Path) -> Path:
    """Results of a small slide."""
    slide = folder / "a.tiff"
    tifffile.imwrite(slide, make_tissue(100, 120), tile=(64, 64), photometric="rgb", metadata=None)
    model = SlideModel(colour_predict, VOCABULARIES["luad_normal"].classes, 1.0, "a" * 32)
    segment_slide(slide, model, folder / "a", mpp_override=1.0, window=64, progress=False)
    return folder / "a"


@pytest.fixture(scope="module", autouse=True)
def _result(tmp_path_factory):
    _made["result"] = segmented(tmp_path_factory.mktemp("result"))
    yield
    _made.clear()


@pytest.mark.parametrize("name", CASES)
def test_ten_at_once(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    case, failed, together = CASES[name], [], threading.Barrier(WRITERS)
    case.prepare()

    def write(writer):
        together.wait()
        try:
            case.write(writer)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in sorted(ALL)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    case.check()
    assert not [path for path in tmp_path.rglob(".*") if path.name not in (".git", ".dvc")]  # locks, halves
    for mark in [mark for key, mark in _made.items() if key in ALL]:
        mark.remove()
