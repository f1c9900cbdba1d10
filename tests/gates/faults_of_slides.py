"""Faults of slide maps, and of what is told of them."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile

from tests.gates.harm import SLIDES, Fault, cells, content, cut_short, gone, table, turned_classes, written
from tests.gates.project import LUNG, MAPS, edit, slide_image, write_result, write_slide
from wsss_mm.patches.images import read_image, write_image
from wsss_mm.slides.pyramid import write_label_pyramid
from wsss_mm.vocabulary import IGNORE

Change = Callable[[np.ndarray], np.ndarray]

RESULT, OTHER = "results/slides/slide-test", "results/slides/slide-more"
SUMMARY, GEOJSON, MAP = f"{RESULT}/summary.json", f"{RESULT}/segmentation.geojson", f"{RESULT}/segmentation.tif"
OVERLAY, TABLE = f"{RESULT}/overlay.png", "results/slides/slides.csv"


def only_map(change: Change) -> Callable[[Path], None]:
    """Another map, and nothing else."""
    return lambda root: write_label_pyramid(root / MAP, change(MAPS["slide-test"]), 1.0, LUNG.palette)


def everything(change: Change) -> Callable[[Path], None]:
    """Another map, and all that is made of it."""
    return lambda root: write_result(root, "slide-test", change(MAPS["slide-test"]))


def exchange(*files: str) -> Callable[[Path], None]:
    """Exchange files of two slides, or their folders."""

    def inject(root: Path) -> None:
        for one, other in [(f"{RESULT}/{file}", f"{OTHER}/{file}") for file in files] or [(RESULT, OTHER)]:
            (root / one).rename(root / "aside")
            (root / other).rename(root / one)
            (root / "aside").rename(root / other)

    return inject


def exchange_all_but_identity(root: Path) -> None:
    exchange()(root)
    names = {name: json.loads((root / f"{name}/summary.json").read_text())["slide"] for name in (RESULT, OTHER)}
    for name, other in ((RESULT, OTHER), (OTHER, RESULT)):
        edit(root / f"{name}/summary.json", lambda s, other=other: s | {"slide": names[other]})
    edit(root / TABLE, lambda t: t.assign(slide_id=t["slide_id"][::-1].to_numpy(), split="test"))


def shuffled(labels: np.ndarray) -> np.ndarray:
    known = labels != IGNORE
    mixed = labels.copy()
    mixed[known] = np.random.default_rng(0).permutation(labels[known])
    return mixed


def taken_for_tissue(labels: np.ndarray) -> np.ndarray:
    return np.where(labels == IGNORE, 0, labels).astype(np.uint8)


def in_windows(labels: np.ndarray) -> np.ndarray:
    """A map in squares of 16 px, as badly stitched windows leave it."""
    squares = np.random.default_rng(0).choice([0, 2, 3], (15, 20)).repeat(16, axis=0).repeat(16, axis=1)
    return np.where(labels == IGNORE, IGNORE, squares).astype(np.uint8)


def seams(root: Path) -> None:
    everything(in_windows)(root)
    edit(root / SUMMARY, lambda s: s["parameters"].update(window=32))


def coarse_outlines(root: Path) -> None:
    """Outlines that may move by 30 um, which is much on regions of 100 um."""
    write_result(root, "slide-test", MAPS["slide-test"], simplify_um=30.0)


def points(change: Callable[[float, float], tuple[float, float]]) -> Callable[[Path], None]:
    """Move the points of all polygons; those that leave the slide, too."""

    def inject(collection: dict) -> None:
        for feature in collection["features"]:
            rings = feature["geometry"]["coordinates"]
            feature["geometry"]["coordinates"] = [[list(change(*point)) for point in ring] for ring in rings]

    return content(GEOJSON, inject)


def swap_classes(collection: dict) -> None:
    one, other, *_ = collection["features"]
    one["properties"], other["properties"] = other["properties"], one["properties"]


def swap_shares(summary: dict) -> None:
    te, tas = summary["classes"]["TE"], summary["classes"]["TAS"]
    te["share"], tas["share"] = tas["share"], te["share"]


def swap_areas(frame: object) -> object:
    return frame.assign(**{"area_mm2.TE": frame["area_mm2.TAS"], "area_mm2.TAS": frame["area_mm2.TE"]})


def palette(root: Path) -> None:
    """Tumour and stroma exchange their colours."""
    colors = np.array(LUNG.palette).reshape(256, 3)
    colors[[0, 3]] = colors[[3, 0]]
    write_label_pyramid(root / MAP, MAPS["slide-test"], 1.0, colors.ravel().tolist())


def levels(*coarse: np.ndarray) -> Callable[[Path], None]:
    """The map with other levels below it."""

    def inject(root: Path) -> None:
        colors = np.array(LUNG.palette, np.uint16).reshape(256, 3).T * 257
        with tifffile.TiffWriter(root / MAP) as file:
            for number, labels in enumerate((MAPS["slide-test"], *coarse)):
                per_cm = (1e4 / 2**number,) * 2
                options = {"resolution": per_cm, "resolutionunit": "CENTIMETER", "metadata": None}
                file.write(labels, photometric="palette", colormap=colors, tile=(256, 256), **options)

    return inject


def overlay(change: Change) -> Callable[[Path], None]:
    return lambda root: write_image(root / OVERLAY, np.ascontiguousarray(change(read_image(root / OVERLAY))))


def region_came_later(root: Path) -> None:
    ring = [[0, 0], [480, 0], [480, 480], [0, 480], [0, 0]]
    (root / "data/cohort/roi.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    edit(root / SLIDES, lambda t: t.assign(roi=np.where(t["slide_id"] == "slide-test", "roi.geojson", "")))


def scanned_again(root: Path) -> None:
    image = slide_image(np.random.default_rng(7), MAPS["slide-more"])
    write_slide(root / "data/cohort/slides/slide-more.tiff", image)


def summary(change: Callable[[dict], object]) -> Callable[[Path], None]:
    return content(SUMMARY, change)


def of_model(**values: object) -> Callable[[Path], None]:
    return summary(lambda s: s["model"].update(values))


def other_ome(root: Path) -> None:
    comment = tifffile.tiffcomment(root / MAP)
    tifffile.tiffcomment(root / MAP, comment.replace('PhysicalSizeX="1"', 'PhysicalSizeX="2"'))


def older_weights(root: Path) -> None:
    for folder in (RESULT, OTHER):
        edit(root / f"{folder}/summary.json", lambda s: s["model"].update(weights_md5="1" * 32))


def on_slides(says: str, check: str, inject: Callable[[Path], object], *also: str) -> Fault:
    return Fault(says, "slides", check, inject, also)


_COARSE = MAPS["slide-test"][1::2, 1::2]

SLIDE_FAULTS = [
    on_slides("a slide was not segmented", "complete", lambda root: (root / RESULT).rename(root / "elsewhere")),
    on_slides(
        "a slide is there that nobody asked for", "complete", lambda root: (root / "results/slides/other").mkdir()
    ),
    on_slides("the overlay is gone", "complete", gone(OVERLAY)),
    on_slides("the overlay is no picture", "complete", written(OVERLAY, b"png")),
    on_slides("the map is truncated", "complete", written(MAP, b"II*")),
    on_slides("the GeoJSON is no collection", "complete", content(GEOJSON, lambda g: {"type": "Feature"})),
    on_slides("the GeoJSON ends early", "complete", cut_short(GEOJSON)),
    on_slides("a class has no figures", "complete", summary(lambda s: s["classes"].pop("TE") and None)),
    on_slides("results of two slides are exchanged", "same_slide", exchange(), "*"),
    on_slides("summaries of two slides are exchanged", "same_slide", exchange("summary.json"), "*"),
    on_slides("a slide was scanned again", "same_slide", scanned_again, "*"),
    on_slides("a region of interest was drawn later", "same_slide", region_came_later),
    on_slides("a slide has another quickhash", "same_slide", summary(lambda s: s["slide"].update(quickhash="0" * 64))),
    on_slides("the slide has another mpp", "same_slide", summary(lambda s: s["slide"].update(mpp=0.25)), "*"),
    on_slides("slides were segmented with two models", "one_model", of_model(weights_md5="1" * 32), "same_segmenter"),
    on_slides("a slide was segmented in another precision", "one_model", of_model(precision="bf16")),
    on_slides("the segmenter was trained again since", "same_segmenter", older_weights),
    on_slides(
        "the segmenter's classes have another order", "same_segmenter", of_model(classes=["TE", "LYM", "NEC", "TAS"])
    ),
    on_slides(
        "the slide was segmented with other windows", "as_asked", summary(lambda s: s["parameters"].update(window=96))
    ),
    on_slides("glass is taken for tissue", "tissue_area", everything(taken_for_tissue), "in_place"),
    on_slides("tissue and glass change sides", "tissue_area", everything(lambda m: m[:, ::-1]), "in_place", "miou"),
    on_slides("all results are mirrored", "in_place", everything(lambda m: m[::-1]), "miou"),
    on_slides("all results are shifted", "in_place", everything(lambda m: np.roll(m, 40, axis=0)), "miou"),
    on_slides("all results are turned around", "in_place", everything(lambda m: m[::-1, ::-1]), "*"),
    on_slides("all but their slides' names are exchanged", "in_place", exchange_all_but_identity, "*"),
    on_slides("pixels are shuffled, and results made of that", "coherent", everything(shuffled), "*"),
    on_slides("the lattice of windows shows", "no_seams", seams, "*"),
    on_slides("the map has another size", "figures_match_map", summary(lambda s: s | {"size": [320, 239]})),
    on_slides("the map has another mpp", "map_mpp", summary(lambda s: s | {"mpp": 1.1}), "*"),
    on_slides(
        "the map covers half the slide",
        "map_covers_slide",
        summary(lambda s: s["slide"].update(bounds=[0, 0, 1280, 480])),
        "same_slide",
    ),
    on_slides("the map has a value without a class", "known_values", only_map(lambda m: np.full_like(m, 9)), "*"),
    on_slides("a coarser level is mirrored", "levels_match_map", levels(_COARSE[:, ::-1])),
    on_slides("a coarser level is of one class", "levels_match_map", levels(np.zeros_like(_COARSE))),
    on_slides("the coarser levels are gone", "levels_match_map", levels()),
    on_slides("colours of two classes are exchanged", "legend", palette),
    on_slides("a class has another name", "legend", summary(lambda s: s["classes"]["TE"].update(name="Stroma"))),
    on_slides(
        "polygons have another colour",
        "legend",
        content(GEOJSON, lambda g: g["features"][0]["properties"]["classification"].update(color=[0, 0, 0])),
    ),
    on_slides(
        "an area is edited", "figures_match_map", summary(lambda s: s["classes"]["LYM"].update(area_mm2=9.0)), "table"
    ),
    on_slides(
        "a share is edited", "figures_match_map", summary(lambda s: s["classes"]["TE"].update(share=0.9)), "table"
    ),
    on_slides(
        "a share is NaN", "figures_match_map", summary(lambda s: s["classes"]["TE"].update(share=float("nan"))), "table"
    ),
    on_slides("shares are swapped", "figures_match_map", summary(swap_shares), "table"),
    on_slides(
        "the area of tissue is edited", "figures_match_map", summary(lambda s: s | {"tissue_area_mm2": 1.0}), "table"
    ),
    on_slides("the ratio is edited", "figures_match_map", summary(lambda s: s | {"tumour_stroma_ratio": 9.0}), "table"),
    on_slides(
        "a ratio that is a number is none",
        "figures_match_map",
        summary(lambda s: s | {"tumour_stroma_ratio": None}),
        "table",
    ),
    on_slides(
        "more is unreadable than is background",
        "figures_match_map",
        summary(lambda s: s | {"unreadable_share": 0.5}),
        "table",
    ),
    on_slides(
        "the number of polygons is edited",
        "figures_match_map",
        summary(lambda s: s["classes"]["TE"].update(polygons=7)),
    ),
    on_slides(
        "a dropped island is counted twice",
        "figures_match_map",
        summary(lambda s: s["classes"]["NEC"].update(dropped_area_mm2=0.0002)),
    ),
    on_slides("the slide's mIoU is edited", "fit_to_truth", summary(lambda s: s["truth"].update(miou=1.0)), "table"),
    on_slides("the slide's mIoU is gone", "fit_to_truth", summary(lambda s: s.pop("truth") and None), "table"),
    on_slides(
        "a polygon crosses itself",
        "valid_polygons",
        content(GEOJSON, lambda g: g["features"][0]["geometry"]["coordinates"][0].insert(2, [0.0, 200.1])),
        "*",
    ),
    on_slides(
        "a polygon has a class nobody knows",
        "valid_polygons",
        content(GEOJSON, lambda g: g["features"][0]["properties"]["classification"].update(name="Bone")),
        "*",
    ),
    on_slides(
        "a polygon is missing", "polygon_count", content(GEOJSON, lambda g: g | {"features": g["features"][1:]}), "*"
    ),
    on_slides(
        "a polygon is there twice",
        "polygon_count",
        content(GEOJSON, lambda g: g["features"].append(g["features"][0])),
        "*",
    ),
    on_slides("polygons are 2 % too large", "polygons_match_map", points(lambda x, y: (x * 1.01, y * 1.01)), "*"),
    on_slides("outlines are simplified until areas change", "simplified_areas", coarse_outlines, "as_asked"),
    on_slides("maps of two slides are exchanged", "polygons_in_place", exchange("segmentation.tif"), "*"),
    on_slides("pixels are shuffled", "polygons_in_place", only_map(shuffled), "*"),
    on_slides("the map is mirrored", "polygons_in_place", only_map(lambda m: m[::-1]), "*"),
    on_slides("polygons say y, x", "polygons_in_place", points(lambda x, y: (y, x))),
    on_slides("polygons are mirrored", "polygons_in_place", points(lambda x, y: (480 - x, y))),
    on_slides("polygons are moved", "polygons_in_place", points(lambda x, y: (x + 300, y))),
    on_slides("two classes of polygons are exchanged", "polygons_in_place", content(GEOJSON, swap_classes), "*"),
    on_slides("the overlay is empty", "overlay", overlay(np.zeros_like)),
    on_slides("the overlay is white", "overlay", overlay(lambda sheet: np.full_like(sheet, 255))),
    on_slides("the overlay is of another slide", "overlay", exchange("overlay.png")),
    on_slides("the overlay is of half the map", "overlay", overlay(lambda sheet: sheet[:, : sheet.shape[1] - 160])),
    on_slides("the map's OME-XML has another mpp", "map_mpp", other_ome),
    on_slides(
        "there is a fit without truth",
        "fit_to_truth",
        content(f"{OTHER}/summary.json", lambda s: s | {"truth": {"miou": 0.9}}),
        "table",
    ),
    on_slides("there is an mIoU without truth", "table", cells(TABLE, "slide-more", miou="0.9")),
    on_slides("an area in the table is edited", "table", cells(TABLE, "slide-test", **{"area_mm2.TE": "9.0"})),
    on_slides("two areas in the table are exchanged", "table", table(TABLE, swap_areas)),
    on_slides("mIoU in the table is edited", "table", cells(TABLE, "slide-test", miou="1.000000")),
    on_slides("a failed slide is called done", "table", cells(TABLE, "slide-test", error="the disk is full")),
    on_slides("the table lacks a slide", "table", table(TABLE, lambda t: t[t["slide_id"] != "slide-more"])),
    on_slides(
        "the table lists a slide that nobody asked for", "complete", cells(TABLE, "slide-test", slide_id="x"), "table"
    ),
    on_slides(
        "the map has the classes of others, and so has all that is made of it", "miou", everything(turned_classes), "*"
    ),
    Fault("the table has two rows for a slide", "slides", "readable", table(TABLE, lambda t: t.iloc[[0, 0, 1]])),
    on_slides("the table is gone", "table", gone(TABLE)),
]
