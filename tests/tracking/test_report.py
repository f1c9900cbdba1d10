"""The page of a run: escaped, alone, and with what there is to say."""

import base64
import io
import re

import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Metric
from PIL import Image

from wsss_mm import places
from wsss_mm.active_run import active_run
from wsss_mm.choosing import Choice, write_choice
from wsss_mm.choosing.choice import TriedSetting
from wsss_mm.cli.main import main
from wsss_mm.errors import InputError
from wsss_mm.files import write_json, write_text
from wsss_mm.places import CHOICE_FILE
from wsss_mm.tracking import keep_evidence, read_evidence, report_beside, training_run
from wsss_mm.tracking.card import failures
from wsss_mm.tracking.finding import WEIGHTS_TAG
from wsss_mm.tracking.report import find_run_of, render_report
from wsss_mm.tracking.store import connect

pytestmark = pytest.mark.xdist_group("mlflow")

EVIL = "<script>alert(1)</script>"


def page_of(run) -> str:
    return render_report(connect().MlflowClient().get_run(run.info.run_id), EVIL)


def test_a_failed_run_says_why_and_everything_is_escaped(tracked):
    with pytest.raises(ValueError), training_run("train_segmenter", {"vocabulary": "lung", "note": EVIL}) as run:
        for name in ("examples/valid/{}", "examples.train.{}.x"):  # as it was, and as it is
            active_run().image(np.zeros((8, 8, 3), np.uint8), name.format(EVIL[1:7]), 3)
        raise ValueError(f"no patch in {EVIL}")
    page = page_of(run)
    assert "<script" not in page
    assert "<strong>FAILED.</strong> ValueError: no patch in &lt;script&gt;" in page
    assert "valid/script, step 3" in page
    assert "train/script.x, step 3" in page


@pytest.fixture
def judged(tracked):
    """A run with reports of a line."""
    Image.fromarray(np.full((4, 4, 3), 200, np.uint8)).save(tracked / "picture.png")
    (tracked / "reports/pictures").mkdir(parents=True)
    (tracked / "picture.png").rename(tracked / "reports/pictures/test.png")
    test = {"ungated": {"miou": 0.55, "iou.TE": 0.7, "iou.LYM": None}, "n_patches": 32, "n_slides": 2}
    write_json(tracked / "reports/metrics/test.json", test | {"bootstrap": {"ungated": {"miou": [0.5, 0.6]}}})
    probe = {"on": "statistics", "miou": 0.31, "mean_ap.valid": 0.82, "mean_ap.test": 0.79, "iou.LYM": None}
    write_json(tracked / "reports/metrics/linear_probe.json", probe)
    write_json(tracked / "reports/gates/slides.json", {"passed": False, "checks": [{"passed": False, "says": EVIL}]})
    confusion = f"actual,predicted,pixels,share\nTE,TE,3,0.75\nTE,{EVIL},1,0.25\n"
    write_text(tracked / "reports/plots/test_confusion.csv", confusion)
    outs = f"  patches:\n    outs:\n    - path: data/patches\n      md5: {'a' * 32}\n"
    write_text(tracked / "dvc.lock", f"stages:\n{outs}")
    with training_run("train_segmenter", {"vocabulary": "lung"}) as run:
        for step, loss in enumerate((2.0, float("nan"), 1.0)):
            active_run().metrics({"loss": loss}, step)
    keep_evidence(tracked, run.info.run_id, {"runs": {"train_segmenter": run.info.run_id}})
    return run


def test_good_and_bad_are_shown_and_nothing_is_loaded(judged):
    page = page_of(judged)
    assert "0.550</span> mIoU on the test split, 95 % interval 0.500 to 0.600" in page
    assert "width: 70.0%; background: #c81e1e" in page  # the colour of TE in the vocabulary
    assert "linear probe on statistics, a patch wholly of its likeliest class, has 0.310 mIoU on the same" in page
    assert "its mean AP is 0.790 on test and 0.820 on validation." in page
    assert "25 % of its pixels taken for &lt;script&gt;" in page
    assert "no truth" in page
    assert "a" * 32 in page
    assert "failed: &lt;script&gt;" in page
    assert 'points="0.0,0.0 560.0,80.0"' in page  # half the loss is half the height; NaN is left out
    assert "<script" not in page
    sources = re.findall(r'(?:src|href)="([^"]{0,20})', page)
    assert sources
    assert all(source.startswith("data:image/webp;") for source in sources)
    assert "http" not in re.sub(r"base64,[^\"]*|http-equiv", "", page)


def test_each_site_has_its_row(tracked):
    figures = {"n_patches": 3, "n_slides": 2, "miou": 0.4, "iou.TE": 0.3, "iou.LYM": None}
    test = {"ungated": {"miou": 0.55, "iou.TE": 0.7}, "n_patches": 6, "n_slides": 4}
    for sites, shown in (({EVIL: figures, "B": figures | {"miou": None}}, True), ({}, False), (["A"], False)):
        write_json(tracked / "reports/metrics/test.json", test | {"sites": sites})
        with training_run("train_segmenter", {"vocabulary": "lung"}) as run:
            pass
        keep_evidence(tracked, run.info.run_id, {"runs": {"train_segmenter": run.info.run_id}})
        page = page_of(run)
        assert ("Each site by itself" in page) == shown
        assert "<script" not in page
        if shown:
            assert "<tr><td>&lt;script&gt;alert(1)&lt;/script&gt;</td><td>2</td><td>3</td>\n<td>0.400</td>" in page
            assert "<td>0.300</td>" in page


def test_how_well_sites_can_be_read_is_shown_of_the_classifiers_run(tracked):
    from matplotlib.figure import Figure

    pages = {}
    for name in ("with", "without"):
        with training_run("train_classifier", {"vocabulary": "lung"}) as classifier:
            if name == "with":
                active_run().figure(Figure(figsize=(2, 1)), "figures/sites.png")
        with training_run("train_segmenter", {"vocabulary": "lung"}) as run:
            pass
        keep_evidence(tracked, run.info.run_id, {"runs": {"train_classifier": classifier.info.run_id}})
        pages[name] = page_of(run), page_of(classifier)
    keep_evidence(tracked, run.info.run_id, {"runs": {"train_classifier": "0" * 32}})
    said = "How well the site can be read from what the classifier sees, beside how well the tissue can"
    assert all(said in page for page in pages["with"])
    assert not any(said in page for page in (*pages["without"], page_of(run)))


def test_what_was_tried_and_what_labels_cannot_teach_is_on_the_page(tracked):
    trial = TriedSetting("flips", True, 0.857, 0.013, 0.008, 0.023, "better", taken=True)
    miou = {"published": 0.845, "chosen": 0.857, "labels_alone": 0.659}
    choice = Choice({"flips": True}, {}, "masks", f"flips {EVIL}", miou, 80, "slide", 16, (trial,), ("A without B",))
    write_choice(tracked / CHOICE_FILE, choice)
    with training_run("train_segmenter", {"vocabulary": "lung"}) as run:
        pass
    keep_evidence(tracked, run.info.run_id, {"runs": {}})
    page = page_of(run)
    assert "<strong>flips: true</strong>" in page
    assert "+0.008 to +0.023</td><td>taken" in page
    assert "80 validation patches; intervals: 16 slides" in page
    assert "A without B" in page
    assert "95 % interval" in page
    assert "<script" not in page


def test_why_few_slides_decided_nothing_is_on_the_page(tracked):
    trial = TriedSetting("normalization", "class", 0.673, 0.275, 0.275, 0.275, "cannot tell")
    says = "masks of 1 validation slide, and fewer than 6 decide nothing alone"
    miou = {"published": 0.398, "chosen": 0.398, "labels_alone": 0.49}
    write_choice(tracked / CHOICE_FILE, Choice({}, {}, "masks", says, miou, 14, "slide", 1, (trial,), few=True))
    with training_run("train_segmenter", {"vocabulary": "lung"}) as run:
        pass
    keep_evidence(tracked, run.info.run_id, {"runs": {}})
    page = page_of(run)
    assert says in page
    assert "14 validation patches of 1 slide)" in page
    assert "<th>Least and largest of one slide</th>" in page
    assert "+0.275</td><td>cannot tell" in page
    assert "95 % interval</th>" not in page


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"ungated": {"miou": "good"}}, "ungated.miou is 'good', no number"),
        ({"gated": {"iou.TE": True}}, "gated.iou.TE is True, no number"),
        ({"ungated": {"miou": [0.5]}}, r"ungated.miou is \[0.5\], no number"),
        ({"bootstrap": {"ungated": {"miou": ["low", 1]}}}, "bootstrap.ungated.miou is 'low', no number"),
        ({"bootstrap": {"ungated": {"miou": 0.5}}}, "bootstrap.ungated.miou is 0.5, no interval"),
        ({"bootstrap": {"ungated": {"miou": [0.5]}}}, "no interval"),
        ({"ungated": 0.5}, "no attribute 'items'"),
        ({"bootstrap": "none"}, "no attribute 'get'"),
    ],
)
def test_text_where_numbers_are_wanted_is_one_line(tmp_path, change, says):
    test = {"ungated": {"miou": 0.55, "iou.LYM": None}, "bootstrap": {"ungated": {"miou": [0.5, 0.6], "iou.LYM": None}}}
    write_json(tmp_path / "reports/metrics/test.json", test)
    assert read_evidence(tmp_path).miou == 0.55
    write_json(tmp_path / "reports/metrics/test.json", test | change)
    with pytest.raises(InputError, match=says) as caught:
        read_evidence(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["actual,predicted,share\nTE,NEC,much\n", "a,b\n1,2\n", "actual,predicted,share\nTE\n"]
)
def test_a_confusion_that_is_none_is_one_line(tmp_path, text):
    write_text(tmp_path / "reports/plots/test_confusion.csv", text)
    with pytest.raises(InputError, match=r"test_confusion.csv: no table of shares"):
        failures(read_evidence(tmp_path))


def test_a_long_curve_keeps_both_ends(tracked):
    with training_run("train_segmenter", {}) as run:
        values = [Metric("loss", step / 1000, step, step) for step in range(1002)]
        connect().MlflowClient().log_batch(run.info.run_id, metrics=values)
    assert "over iterations 0 to 1001; last value 1<" in page_of(run)


def test_an_experiment_that_was_not_registered_shows_its_test_metrics_and_pictures(tracked):
    with training_run("train_segmenter", {"vocabulary": "lung"}) as run:
        active_run().metrics({"test.ungated.miou": 0.4321, "test.ungated.iou.TE": 0.7, "valid/iou.TE": 0.1})
        Image.fromarray(np.full((4, 4, 3), 200, np.uint8)).save(tracked / "test.png")
        active_run().file(tracked / "test.png", "pictures")
    page = page_of(run)
    assert "0.432</span> mIoU on the test split" in page
    assert "<th>Test IoU</th>" in page
    assert "Patches of the test split with the fewest" in page


def test_a_run_is_found_by_the_name_of_its_experiment(tracked, monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "found-by-name")
    runs = []
    for stage in ("train_segmenter", "train_classifier"):
        with training_run(stage, {}) as run:
            runs.append(run.info.run_id)
    assert find_run_of("found-by-name")[0].info.run_id == runs[0]
    assert find_run_of(runs[1])[0].info.run_id == runs[1]


@pytest.mark.parametrize("what", ["nobody", "0" * 32, "models:/nobody/1", "models:/nobody", "it's"])
def test_what_is_not_there_is_named(tracked, what, capsys):
    assert main(["report", what]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert what.removeprefix("models:/")[:6] in error
    assert not (tracked / "report.html").exists()


def results(slides):
    """Slides among the results, with the weights each was segmented with and its mIoU."""
    rows = ["slide_id,status,miou"]
    for name, (weights, miou) in slides.items():
        folder = places.RESULTS / name
        folder.mkdir(parents=True)
        write_json(folder / "summary.json", {"model": {"weights_md5": weights}})
        Image.fromarray(np.full((20, 3000, 3), 200, np.uint8)).save(folder / "overlay.png")
        rows.append(f"{name},done,{miou}")
    write_text(places.RESULTS / "slides.csv", "\n".join([*rows, "../x,done,", "gone,done,0.1"]) + "\n")


def test_maps_of_slides_are_those_that_were_made_with_it_the_worst_first(judged, tracked):
    connect().MlflowClient().set_tag(judged.info.run_id, WEIGHTS_TAG, "f" * 32)
    results({"S1": ("f" * 32, 0.9), "S2": ("f" * 32, 0.7), "S3": ("e" * 32, 0.1), EVIL[:8]: ("f" * 32, "")})
    page = page_of(judged)
    assert "3 of 3 slides that were segmented with it" in page
    titles = re.findall(r"<figcaption>(S\d[^<]*|&lt;script&gt;)</figcaption>", page)
    assert titles == ["S2, mIoU 0.700", "S1, mIoU 0.900", "&lt;script&gt;"]
    found = re.search(r'src="data:image/webp;base64,([^"]+)" alt="Map of S2', page)
    with Image.open(io.BytesIO(base64.b64decode(found[1]))) as picture:
        assert picture.width == 1100
    connect().MlflowClient().set_tag(judged.info.run_id, WEIGHTS_TAG, "d" * 32)
    assert "<h2>Slides</h2>" in page_of(judged)
    assert "the 4 slides in results/slides were segmented with other weights" in page_of(judged)


def test_why_no_maps_of_slides_are_there_is_said(judged, tracked):
    assert "No maps of slides are shown: none is in results/slides yet." in page_of(judged)
    results({"S1": ("f" * 32, 0.9)})
    assert "No maps of slides are shown: the run does not say which weights it made." in page_of(judged)
    client = connect().MlflowClient()
    client.set_tag(judged.info.run_id, WEIGHTS_TAG, "e" * 32)
    assert "the slide in results/slides was segmented with other weights; for maps of a" in page_of(judged)
    client.set_tag(judged.info.run_id, WEIGHTS_TAG, "f" * 32)
    (places.RESULTS / "S1/overlay.png").unlink()
    assert "the pictures of its 1 are not here; bring them with: dvc checkout results/slides." in page_of(judged)
    client.set_tag(judged.info.run_id, "stage", "train_classifier")
    assert "No maps of slides" not in page_of(judged)  # no slide is segmented with one


def test_labels_are_counted_by_class_and_slide(judged, tracked, monkeypatch):
    rows = [("p1", "S2", "train", True, False), ("p2", "S2", "train", True, True), ("p3", "S1", "test", False, False)]
    frame = pd.DataFrame(rows, columns=["patch_id", "slide_id", "split", "TE", "LYM"]).set_index("patch_id")
    asked = []
    monkeypatch.setattr(report_beside, "cache_folder", lambda root: root)
    monkeypatch.setattr(report_beside, "read_version", lambda version, _: (asked.append(version.md5), (frame, {}))[1])
    page = page_of(judged)
    assert asked == ["a" * 32]  # as its dvc.lock says, whatever lies in data/patches now
    rows = re.findall(r"<tr>(<td>[^/]*</td><td>.*?)</tr>", page[page.index("<h2>Labels</h2>") :])
    cells = [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in rows]
    assert cells[:2] == [["train", "2", "2", "1"], ["test", "1", "0", "0"]]
    assert cells[2:4] == [["S2", "train", "2", "2", "1"], ["S1", "test", "1", "0", "0"]]


def test_labels_that_are_not_here_are_no_error(judged):
    assert "Its patches are not here: " in page_of(judged)


def test_the_champion_stands_beside_it(judged, tracked):
    client, name = connect().MlflowClient(), f"segmenter-{judged.info.run_id[:6]}"
    client.create_registered_model(name)
    assert "hampion" not in page_of(judged)

    test = {
        "ungated": {"miou": 0.5, "iou.TE": 0.75, "iou.LYM": 0.0},
        "n_patches": 3,
        "n_slides": 1,
        "test_split": "t" * 8,
    }
    write_json(tracked / "reports/metrics/test.json", test)
    with training_run("train_segmenter", {"vocabulary": "lung"}) as other:
        pass
    keep_evidence(tracked, other.info.run_id, {"runs": {}})
    for number, run in enumerate((other, judged), start=1):
        client.create_model_version(name, run.info.artifact_uri, run.info.run_id)
        client.set_registered_model_alias(name, "champion", str(number))
    assert f"<p>It is the champion: {name} version 2.</p>" in page_of(judged)

    client.set_registered_model_alias(name, "champion", "1")
    page = page_of(judged)
    said = f"The champion, {name} version 1, has 0.500 mIoU"
    assert f"{said}, on other patches: the two are not to be compared." in page
    assert "<th>Champion</th>" not in page  # its figures are of other patches

    write_json(tracked / "reports/metrics/test.json", test | {"ungated": {"miou": 0.55, "iou.TE": 0.7}})
    with training_run("train_segmenter", {"vocabulary": "lung"}) as run:
        pass
    keep_evidence(tracked, run.info.run_id, {"runs": {}})
    client.create_model_version(name, run.info.artifact_uri, run.info.run_id)
    page = page_of(run)
    assert f"{said} on the same patches: this is +0.050." in page
    assert '<td>0.750 <span class="muted">(-0.050)</span></td>' in page
