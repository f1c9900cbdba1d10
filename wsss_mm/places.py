"""Where everything of the line lies, what its tables hold, and the number of each file's format.

Paths are relative to the project's root. A file that the product reads back says the number of its format: under
`format` in JSON, under `wsss_mm.format` in the metadata of parquet, in a first line `# wsss_mm format 1` in text. Files
without one are of format 0, from before there were numbers. `wsss_mm.formats` reads and writes by these numbers; a
number goes up when an older release would misread a file, not when something is added to it.

No number stands in:

- CSV, which people and spreadsheets write too: its columns tell. What is missing but needed is refused by name, what is
  missing and optional is empty, what is unknown is passed over (see `wsss_mm.tables`).
- PNG, tar, TIFF, OME-TIFF, OME-Zarr, GeoJSON and GeoParquet, which follow published formats; summary.json beside them,
  or the manifest that lists them, speaks for them. weights.pth likewise, for which model.json does.
- reports/metrics/summary.json, of which people compare every number: gate segmenter holds each against the files that
  it is taken from, which have one.
- reports/metrics/gates/*.json, upper_bound.json and colour_baseline.json, which people read, and the product does not.
- reports/studies/*.jsonl, rows that studies print; and memories, looked up again where they do not fit: figures.json
  beside a page of findings, in work_dirs cohort/seen.json, segmented.json, stage_times.json and tune/journal.jsonl.
- MLflow's stores, which have versions of their own.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PARAMS_FILE, GATES_FILE, PIPELINE = "params.yaml", "gates.yaml", "dvc.yaml"
"""In the project's root: what the line does, what passes, and its stages."""
ENCODERS_FILE = "encoders.yaml"
"""Likewise: the encoders that there are beside those that are shipped."""
SOURCES_FILE = "sources.yaml"
"""Likewise: the data sets of labelled patches and regions."""
PROJECT_NOTE, STAGE_CODE = Path(".wsss-mm.json"), Path("code")
"""Of a lab's project: which files it was begun with, and the folder with what each stage rests on of the package."""
CODE_OF_PHANTOM = STAGE_CODE / "cohort.sha256"
"""There what tells DVC of the phantom's code, which is no file of the project."""

DATA, MODELS, REPORTS, WORK = Path("data"), Path("models"), Path("reports"), Path("work_dirs")

COHORT, PATCHES, PSEUDO_LABELS = DATA / "cohort", DATA / "patches", DATA / "pseudo_labels"
WANTED = WORK / "wanted.csv"
"""Candidates that would tell classes apart, see `wsss-mm labels wanted`."""
CANDIDATES, FEATURES = DATA / "candidates", DATA / "features"
QUARANTINE = DATA / "quarantine.csv"
SLIDE_NOTES = DATA / "notes.csv"
"""What people wrote of slides in the viewer, in git like the quarantine."""
CLASSIFIER, SEGMENTER = MODELS / "classifier", MODELS / "segmenter"
METRICS, GATES, PLOTS, PICTURES = (REPORTS / name for name in ("metrics", "gates", "plots", "pictures"))
GATE_METRICS, REGISTERED = METRICS / "gates", REPORTS / "registered.json"
CLASSIFIER_METRICS, PSEUDO_LABEL_METRICS = METRICS / "classifier.json", METRICS / "pseudo_labels.json"
SEGMENTER_METRICS, TEST_METRICS, SUMMARY_METRICS = (
    METRICS / f"{name}.json" for name in ("segmenter", "test", "summary")
)
"""Figures: of validation by the model, of the test split, and the few of the whole line."""
LINEAR_PROBE = METRICS / "linear_probe.json"
"""The first baseline beside the figures of the test split."""
UPPER_BOUND, COLOUR_BASELINE = REPORTS / "upper_bound.json", METRICS / "colour_baseline.json"
CLASSIFIER_SCORES, CLASSIFIER_CURVES = PLOTS / "classifier_scores.csv", PLOTS / "classifier_curves.csv"
PSEUDO_LABEL_COUNTS, SEGMENTER_CURVES = PLOTS / "pseudo_label_counts.csv", PLOTS / "segmenter_curves.csv"
TEST_COUNTS, TEST_IOU, TEST_CONFUSION, TEST_CALIBRATION = (
    PLOTS / f"test_{name}.csv" for name in ("counts", "iou", "confusion", "calibration")
)
"""Tables that `dvc plots` shows and the gates compute figures from again."""
PSEUDO_LABEL_PICTURE, TEST_PICTURE = PICTURES / "pseudo_labels.png", PICTURES / "test.png"
CHOICE_FILE = REPORTS / "choices/pseudo_labels.json"
"""The settings of pseudo-labels that were chosen, and what was tried."""
CHOICE_PICTURE = PICTURES / "choose_pseudo_labels.png"
SITES_FIGURE = "figures/sites.png"
"""Artifact of a classifier's run: how well site and tissue can be read from its features."""
GATES_PAGE = GATES / "index.html"
TUNE_FILE, TUNE_WORK = "tune.yaml", WORK / "tune"
"""What makes a stage of a trial of `wsss-mm tune`, and where what trials share is kept."""
TUNE_METRICS, TUNE_COUNTS = (REPORTS / f"tune/{name}.json" for name in ("trial", "counts"))
"""Figures of a trial, in its experiment alone; with the pixels of the validation split, slide by slide."""
STUDIES = REPORTS / "studies"
"""Rows of the studies, a file of lines of JSON for each."""

LABELS_FOLDER, JOURNAL_SUFFIX = Path("labels"), ".jsonl"
"""What people said of patches, a journal for each reader, in git; and how the name of one ends."""
MASKS, REGIONS = LABELS_FOLDER / "masks", LABELS_FOLDER / "regions"
"""What people drew on slides, a GeoJSON file for each slide, in git: areas with a class, and regions of interest."""
DRAWN = {"roi": REGIONS, "annotation": MASKS}
"""Where what is drawn lies by the column of the table of slides that it stands for."""
MAPS, RESULTS = DATA / "maps", Path("results/slides")
ALL_RESULTS = RESULTS.parent
"""What `wsss-mm segment` fills; the results of the line's own slides are in its folder `slides`."""
SEGMENTED = WORK / "segmented.json"
"""Where the slides lay that `wsss-mm segment` has segmented from here."""
PRETRAINED = Path("pretrained")
"""The files that trainings begin with, by the names that params.yaml has for them."""
PUBLISHED = "published"
"""What `weights` says for the encoder's own file, and the name in `PRETRAINED` of a note that DVC watches instead."""
CHAMPION_PIN = Path("champion.json")
"""What gate segmenter compares a model with."""

SLIDES_TABLE = "slides.csv"
"""The table of a cohort's slides, and the one of what became of them, beside their results."""
OWN_SLIDES = DATA / SLIDES_TABLE
"""The table of a user's own slides, unless params.yaml names another."""
TRUTH, LABELS_TABLE = "truth", "labels.csv"
"""In the folder of a cohort: maps of the true classes by slide, and label sets by place."""
LABELS = DATA / LABELS_TABLE
"""Label sets by place, made of the journals of readers, or written by hand."""

MANIFEST = "manifest.parquet"
"""In data/patches, in the patches that are set aside, and in data/pseudo_labels."""
STAIN = "stain.json"
"""In data/patches, where params.yaml asks for it: how its slides are stained, and what they are made to look like."""
ICC = "icc.json"
"""In data/cohort and data/patches, where params.yaml asks for it: slides are read as sRGB."""
CANDIDATES_FILE, FEATURES_FILE = "candidates.parquet", "features.json"
"""In data/candidates, and in data/features beside a file for each slide."""
SET_ASIDE, LABEL_MAPS = "quarantined", "labels"
"""Folders: in data/patches, and in data/pseudo_labels."""

DESCRIPTION, WEIGHTS, CONFIG, CARD = "model.json", "weights.pth", "config.py", "README.md"
"""What a model's folder holds."""
MEMBERS = "members"
"""In that of the classifier, where there are several: folders `1`, `2` and so on, each a model's."""
BUNDLE_NOTE, BUNDLE_VOCABULARY = "bundle.json", "vocabulary.yaml"
"""What a bundle of models holds beside their folders and a card."""

LABEL_MAP, OUTLINES, OVERLAY, SUMMARY = "segmentation.tif", "segmentation.geojson", "overlay.png", "summary.json"
SLIDE_FILES = (LABEL_MAP, OUTLINES, OVERLAY, SUMMARY)
"""What a finished folder of a slide's results holds; the summary is written last, so one that has it is complete."""
OUTLINES_GZ = f"{OUTLINES}.gz"
IN_PLACE_OF = {OUTLINES: OUTLINES_GZ}
"""What it may hold in place of one of `SLIDE_FILES`: `Parameters.geojson` says which."""
POLYGONS, LABELS_ZARR = "segmentation.parquet", "segmentation.ome.zarr"
"""What it holds besides if `Parameters.geoparquet`, and, a folder, if `Parameters.ome_zarr`."""
DICOM_SEG = "segmentation.dcm"
"""What it holds besides if `Parameters.dicom_seg`."""
PROBABILITIES = "probabilities.ome.tif"
"""What it holds besides if `Parameters.probabilities`."""
CONFIDENCE = "confidence.tif"
"""And if `Parameters.confidence`."""
MAP, MAP_NOTES = "map.tif", "map.json"
"""What the folder of a slide's map holds: a page of labels, further ones for the probabilities of the classes and for
the confidence if they are wanted, and what they are of; the notes are written last, so a folder that has them is
complete."""
HALF_DONE, STATE = ".partial", "state.json"
"""In it while the slide is being segmented: a folder, and the journal there."""

OVERVIEW, NOTE = "index.html", "NOTE.txt"
"""What lies beside the folders of slides among the results, with `SLIDES_TABLE`."""

FINDINGS = Path("findings")
"""Pages on slides for people who sign them, a folder for each slide."""
FINDINGS_PAGE, FINDINGS_MEMORY = "findings.html", "figures.json"
"""In the folder of a slide among them, with a PDF of the page's name; and what need not be looked up again."""
COHORT_FINDINGS_PAGE, AREAS = "cohort.html", "areas.csv"
"""Beside these folders: the page of all slides, likewise, and their areas."""

CURVES = "curves.csv"
"""In the folder of a training: what it logged."""
SEEN = WORK / "cohort/seen.json"
"""What stage cohort has read of slides that did not change since."""
STAGE_TIMES, STAGES_VARIABLE = WORK / "stage_times.json", "WSSS_MM_STAGES"
"""How long each stage took when it last ran to its end; in the environment of stages of `make repro`: JSON with the
stages in DVC's order, each with those that build on it."""

LABEL_SERVER = WORK / "label"
"""Secrets of the labelling page's server: its key, and digests of the readers' links."""
FEATURES_MEMORY = WORK / "features"
"""Features that were ever computed here, of which stage features takes those of its classifier."""
UNSENT = WORK / "unsent"
JOURNAL_OF_RUN, LOCAL_FILES = "run.jsonl", "files"
"""In `UNSENT`: a folder for each run that the store has not, or not all of, with what was logged and its artifacts."""
EVIDENCE, EVIDENCE_DIGESTS, LINEAGE = "evidence", "digests.json", "lineage.json"
"""Artifact folder of a run, and files in it."""

SLIDE_COLUMNS = (
    *("slide_id", "patient_id", "site", "path", "split"),
    *("mpp", "roi", "annotation"),
    *("bytes", "quickhash"),  # of the slide, as stage `cohort` found it
)
"""Columns of a cohort's `SLIDES_TABLE`."""
LABEL_COLUMNS, MADE_LABEL_COLUMNS = ("slide_id", "x", "y", "labels"), ("unsure", "source")
"""Of a table of labelled patches: those that people give, and those that one has which was made of journals."""
EXACT_LABEL_COLUMNS = ("asked", "artefact", "mpp", "size", "seconds")
"""Columns that make such a table exact: which classes were asked, why nothing can be said, and what patch it is."""
SLIDE_NOTES_COLUMNS = ("id", "slide_id", "x", "y", "note", "reader", "time")
"""Columns of `SLIDE_NOTES`."""
QUARANTINE_COLUMNS = ("kind", "id", "gate", "expectation", "reason", "reviewer", "date")
"""Columns of `QUARANTINE`."""

BEFORE_CLASSES = {
    "patch_id": "text",
    "slide_id": "text",
    "patient_id": "text",
    "site": "text",  # where the slide was made; None where that is not known
    "split": "text",
    "x": "integer",  # level-0 px of the top-left corner; -1 where the source does not say
    "y": "integer",
    "mpp": "number",  # um/px
    "size": "integer",  # px, width and height
    "path": "text",  # relative to the manifest's folder, posix; of a file in a shard, see `wsss_mm.patches.shards`
    "mask_path": "text",  # likewise; None where there is no mask
}
AFTER_CLASSES = {
    "sha256": "text",  # of the image file
    "mask_sha256": "text",  # of the mask file; None where there is none
    "tissue": "number",  # share of the patch that is tissue, 0..1
    "unsure": "text",  # codes of classes of which nobody knows whether the patch holds them: `LYM;NEC`; None if none
}
"""Columns of the patch manifest around those of the classes, which are bool, and the kind of value they hold."""
LATER_COLUMNS = frozenset({"mask_sha256", "site", "unsure"})
"""Columns that manifests of format 0 may lack: these are read, but do not pass the gate."""

CANDIDATE_COLUMNS = {
    **{name: BEFORE_CLASSES[name] for name in ("patch_id", "slide_id", "patient_id", "site", "split", "x", "y")},
    **{"mpp": "number", "size": "integer", "tissue": "number"},
    **{"focus": "number", "haematoxylin": "number", "eosin": "number"},  # see `wsss_mm.patches.appearance`
}
"""Columns of the table of candidates, the patches that can be labelled, and the kind of value they hold."""


SHARE = "share_"
"""Before the code of a class: its column in the manifest of pseudo-labels."""


def pseudo_label_columns(codes: Iterable[str]) -> list[str]:
    """Columns of the manifest of pseudo-labels; digests of what they were made of follow: `patches`, `classifier`.

    Behind these stands `MEMBERS`, how many classifiers made them, where they were several.
    """
    return ["patch_id", "path", "coverage", *(f"{SHARE}{code}" for code in codes), "agreement", "sha256"]


@dataclass(frozen=True)
class Artefact:
    """A kind of file that the product writes and reads back.

    Attributes:
        what: It is called in messages.
        places: Patterns of its paths; in an artifact store, from there.
        again: What to do where one is damaged, or older than can be read.
        absent: What to do where there is none.
        newer: What to do where a later version of wsss_mm wrote it.
        format: Number that is written, or a lower one where an older release reads all there is.
        oldest: Number that is still read.
    """

    what: str
    places: tuple[str, ...]
    again: str = "make it again: dvc repro"
    absent: str = "make it with: dvc repro"
    newer: str = "update wsss_mm to the version that wrote it"
    format: int = 1
    oldest: int = 0


MODEL = Artefact(
    "model description",
    (f"{MODELS}/*/{DESCRIPTION}", f"{CLASSIFIER}/{MEMBERS}/*/{DESCRIPTION}"),
    again="export the model again",
    absent="run `dvc repro`, or `dvc pull`, to have the model",
)
BUNDLE = Artefact(
    "bundle of a model",
    (f"{MODELS}/bundles/*/{BUNDLE_NOTE}",),
    again="export the model again, or copy the bundle again",
    absent="it is no bundle of `wsss-mm model export`",
    oldest=1,
)
PATCH_MANIFEST = Artefact(
    "manifest of patches",
    (f"{PATCHES}/{MANIFEST}", f"{PATCHES}/{SET_ASIDE}/{MANIFEST}"),
    again="make it again: dvc repro -f patches",
    absent="make it with: dvc repro -f patches",
    format=2,  # 1 names no files in shards
)
CANDIDATE_TABLE = Artefact(
    "table of candidates",
    (f"{CANDIDATES}/{CANDIDATES_FILE}",),
    again="make it again: dvc repro -f candidates",
    absent="make it with: dvc repro candidates",
    oldest=1,
)
FEATURES_INDEX = Artefact(
    "list of features",
    (f"{FEATURES}/{FEATURES_FILE}",),
    again="make it again: dvc repro -f features",
    absent="make it with: dvc repro features",
    oldest=1,
)
PSEUDO_LABEL_MANIFEST = Artefact(
    "manifest of pseudo-labels",
    (f"{PSEUDO_LABELS}/{MANIFEST}",),
    again="make it again: dvc repro -f pseudo_labels",
    absent="make it with: dvc repro -f pseudo_labels",
    format=2,  # likewise
)
CHOICE = Artefact(
    "choice of settings",
    (CHOICE_FILE.as_posix(),),
    again="make it again: dvc repro -s -f choose_pseudo_labels",
    absent="make it with: dvc repro choose_pseudo_labels",
    oldest=1,
)
SLIDE_MAP = Artefact(
    "map of a slide",
    (f"{MAPS}/*/{MAP_NOTES}",),
    again="make it again: dvc repro -s -f segment_slides",
    absent="stage segment_slides makes it, or says why not: dvc repro segment_slides",
    oldest=1,
)
SLIDE_SUMMARY = Artefact(
    "summary of a slide",
    (f"{RESULTS}/*/{SUMMARY}",),
    again="segment the slide again",
    absent="segment the slide",
)
SLIDE_JOURNAL = Artefact(
    "journal of a half-finished slide",
    (f"{RESULTS}/*/{HALF_DONE}/{STATE}",),
    again="segment the slide again",
    newer="go on with the version of wsss_mm that wrote it, or delete its folder to begin anew",
)
LABEL_JOURNAL = Artefact(
    "journal of labels",
    (f"{LABELS_FOLDER}/*{JOURNAL_SUFFIX}",),
    again="take it as it was from git or from a backup",
    absent="label patches: wsss-mm label",
    oldest=1,
)
PROJECT = Artefact(
    "note of a project's files",
    (PROJECT_NOTE.as_posix(),),
    again="take it as it was from git or from a backup",
    absent="begin a project with: wsss-mm init FOLDER",
    newer="install the version of wsss-mm that wrote it, or a later one",
    oldest=1,
)
_READ_BACK = (CLASSIFIER_METRICS, PSEUDO_LABEL_METRICS, SEGMENTER_METRICS, TEST_METRICS, LINEAR_PROBE)
STAINS = Artefact(
    "file of stains",
    (f"{PATCHES}/{STAIN}",),
    again="make it again: dvc repro -f patches",
    absent="make it with: dvc repro patches",
    oldest=1,
)
ICC_NOTE = Artefact(
    "note of colour profiles",
    (f"{COHORT}/{ICC}", f"{PATCHES}/{ICC}"),
    again="make it again: dvc repro -f cohort",
    oldest=1,
)
FIGURES = Artefact("file of figures", tuple(path.as_posix() for path in _READ_BACK))
GATE_REPORT = Artefact("gate's report", (f"{GATES}/*.json",))
REGISTRATION = Artefact(
    "note of a registration", (REGISTERED.as_posix(),), again="make it again: dvc repro -s -f register"
)
CHAMPION = Artefact(
    "pin of a champion",
    (CHAMPION_PIN.as_posix(),),
    again="write it anew: wsss-mm models pin",
    absent="make it with: wsss-mm models pin",
    oldest=1,
)
CHECKPOINT = Artefact(
    "checkpoint of a training",
    (f"{WORK}/*/*/checkpoint-*.sha256",),
    again="delete its folder, to train anew",
    newer="go on with the version of wsss_mm that wrote it, or delete its folder to train anew",
)
LOCAL_RUN = Artefact(
    "run that was not sent",
    (f"{UNSENT}/*/{JOURNAL_OF_RUN}",),
    again="delete its folder, or look into it: it holds a line for each thing that was logged",
    newer="update wsss_mm, then: wsss-mm sync",
    oldest=1,
)
KEPT_DIGESTS = Artefact(
    "list of a run's reports", (f"{EVIDENCE}/{EVIDENCE_DIGESTS}",), again="register again: dvc repro -s -f register"
)
KEPT_LINEAGE = Artefact(
    "lineage of a run", (f"{EVIDENCE}/{LINEAGE}",), again="register again: dvc repro -s -f register"
)

ARTEFACTS = (
    *(MODEL, BUNDLE, PATCH_MANIFEST, STAINS, ICC_NOTE, CANDIDATE_TABLE, FEATURES_INDEX, PSEUDO_LABEL_MANIFEST, CHOICE),
    *(SLIDE_MAP, SLIDE_SUMMARY, SLIDE_JOURNAL, LABEL_JOURNAL, FIGURES, GATE_REPORT, REGISTRATION, CHAMPION, PROJECT),
    *(CHECKPOINT, LOCAL_RUN, KEPT_DIGESTS, KEPT_LINEAGE),
)
