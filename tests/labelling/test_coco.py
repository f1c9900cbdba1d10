"""Masks go out as COCO and come back pixel for pixel, and the field's own library reads what is written."""

import json

import cv2
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from wsss_mm.errors import InputError
from wsss_mm.labelling.drawings import IGNORED, Area, clean, to_rings
from wsss_mm.labelling.exchange.coco import Ground, coco_picture, merged, picture_of_mask, read_coco, write_coco
from wsss_mm.slides.rle import area_of, packed, run_lengths, unpacked
from wsss_mm.slides.roi import rasterise
from wsss_mm.vocabulary import IGNORE, get_vocabulary

LUNG = get_vocabulary("lung")
NAMES = [*(item.name for item in LUNG.classes), IGNORED]
GROUND = Ground((7, 5), (300, 200), 0.5)
PATCH = {"mpp": 1.0, "size": 64}


def ground_of(slide_id):
    return GROUND if slide_id == "s-1" else None


def read(path):
    return read_coco(path, LUNG, ground_of, **PATCH)


def drawn(areas, size=GROUND.size, corner=(0, 0), scale=1.0):
    """What areas say, px by px."""
    pairs = [(area.geometry, NAMES.index(area.name)) for area in areas]
    return rasterise(pairs, corner, size, scale, fill=IGNORE)


def areas_of(content):
    found = []
    for number, (name, shapes) in enumerate(content):
        whole = shapely.MultiPolygon()
        for (x, y, side), hole in shapes:
            box = shapely.box(x, y, x + side, y + side)
            box = box.difference(shapely.box(x + side / 4, y + side / 4, x + side / 2, y + side / 2)) if hole else box
            whole = whole.union(box)
        geometry = clean(whole, GROUND.size)
        if not geometry.is_empty:
            found.append(Area(f"{number:032x}", name, geometry))
    return found


BOXES = st.tuples(st.floats(0, 280), st.floats(0, 180), st.floats(1, 90))
DRAWINGS = st.lists(
    st.tuples(st.sampled_from(NAMES), st.lists(st.tuples(BOXES, st.booleans()), min_size=1, max_size=3)), max_size=4
)
MASKS = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(
    lambda size: st.lists(st.booleans(), min_size=size[0] * size[1], max_size=size[0] * size[1]).map(
        lambda flat: np.array(flat, bool).reshape(size)
    )
)


@given(DRAWINGS)
@settings(max_examples=40, deadline=None)
def test_what_is_drawn_on_a_slide_comes_back_as_it_was(tmp_path_factory, content):
    path, areas = tmp_path_factory.mktemp("coco") / "a.json", areas_of(content)
    assert write_coco(path, [coco_picture("s-1.svs", GROUND, areas)], LUNG) == len(areas)
    found = read(path).get("s-1", [])
    assert [(area.id, area.name, to_rings(area.geometry)) for area in found] == [
        (area.id, area.name, to_rings(area.geometry)) for area in areas
    ]


@given(DRAWINGS)
@settings(max_examples=25, deadline=None)
def test_run_lengths_alone_say_it_pixel_for_pixel(tmp_path_factory, content):
    """As a tool does that knows nothing of us: extra keys are gone, and counts are not compressed."""
    path, areas = tmp_path_factory.mktemp("coco") / "a.json", areas_of(content)
    write_coco(path, [coco_picture("s-1.svs", GROUND, areas)], LUNG)
    content = json.loads(path.read_text())
    for item in content["annotations"]:
        item.pop("wsss_mm", None)
        if isinstance(item["segmentation"], dict):
            item["segmentation"]["counts"] = unpacked(item["segmentation"]["counts"])
    path.write_text(json.dumps(content))
    kept = [area for area in areas if (drawn([area]) != IGNORE).any()]
    np.testing.assert_array_equal(drawn(read(path).get("s-1", [])), drawn(kept))


@given(MASKS)
@settings(max_examples=80, deadline=None)
def test_run_lengths_of_any_mask(mask):
    height, width = mask.shape
    counts = run_lengths([mask[:, : width // 2], mask[:, width // 2 :]])
    assert counts == run_lengths([mask])
    assert unpacked(packed(counts)) == counts
    area = area_of(counts, width, height)
    assert area.is_valid
    assert area.area == mask.sum()
    if mask.any():
        np.testing.assert_array_equal(rasterise([(area, 1)], (0, 0), (width, height), 1.0, fill=0) == 1, mask)


def mask_of(item, image):
    """What an annotation covers, decoded as the format is published: polygons by OpenCV, run lengths by hand."""
    said, (height, width) = item["segmentation"], (image["height"], image["width"])
    if isinstance(said, list):
        fine, mask = 16, np.zeros((height * 16, width * 16), np.uint8)
        for flat in said:
            ring = np.rint(np.reshape(flat, (-1, 2)) * fine).astype(np.int32)
            cv2.fillPoly(mask, [ring], 1)
        return mask.reshape(height, fine, width, fine).mean(axis=(1, 3))
    counts, number, place = [], 0, 0
    for character in said["counts"].encode():
        number |= (character - 48 & 31) << 5 * place
        place += 1
        if not character - 48 & 32:  # the last of a number; its fifth bit is the sign
            number -= 1 << 5 * place if character - 48 & 16 else 0
            counts.append(number + (counts[-2] if len(counts) > 2 else 0))
            number = place = 0
    flat = np.repeat(np.arange(len(counts)) % 2, counts)
    assert list(said["size"]) == [height, width]
    return flat.reshape(width, height).T.astype(float)  # down, then across


def share_of(pixels, geometry):
    """Of each pixel, how much lies in the area; those that its border crosses are intersected, the others told."""
    shapely.prepare(geometry)
    crossed = shapely.intersects(geometry, pixels)
    share = (crossed & shapely.contains_properly(geometry, pixels)).astype(float)
    crossed &= share == 0
    share[crossed] = shapely.area(shapely.intersection(pixels[crossed], geometry))
    return share


@given(DRAWINGS)
@settings(max_examples=10, deadline=None)
def test_another_reader_sees_the_same_areas(tmp_path_factory, content):
    """With holes, and up to the border; where it sees part of a pixel, the area's edge goes through it."""
    path, areas = tmp_path_factory.mktemp("coco") / "a.json", areas_of(content)
    write_coco(path, [coco_picture("s-1.svs", GROUND, areas)], LUNG)
    told = json.loads(path.read_text())
    assert len(told["annotations"]) == len(areas)
    columns, rows = np.meshgrid(np.arange(GROUND.size[0]), np.arange(GROUND.size[1]))
    pixels = shapely.box(columns, rows, columns + 1, rows + 1)
    for item, area in zip(told["annotations"], areas, strict=True):
        names = {category["id"]: category["name"] for category in told["categories"]}
        assert names[item["category_id"]] == area.name
        share, seen = share_of(pixels, area.geometry), mask_of(item, told["images"][0])
        whole = np.isin(np.round(share, 6), (0, 1))
        border = shapely.boundary(area.geometry)
        shapely.prepare(border)
        near = shapely.dwithin(border, pixels, 0.1)
        assert (np.round(seen) == np.round(share))[whole & ~near].all()
        assert abs(seen.sum() - area.geometry.area) <= shapely.length(area.geometry) + 1


def test_masks_of_patches_come_back_at_their_place(tmp_path):
    rng = np.random.default_rng(3)
    mask = np.kron(rng.integers(0, 5, (16, 16)), np.ones((4, 4), int)).astype(np.uint8)
    mask[mask == 4] = IGNORE
    mask[10:50, 10:50] = 1
    mask[20:30, 20:30] = 2  # a hole in it
    picture = picture_of_mask("images/test/s-1-27-45.png", mask, LUNG)
    write_coco(tmp_path / "a.json", [picture], LUNG)
    found = read(tmp_path / "a.json")["s-1"]
    assert {area.name for area in found} == {item.name for item in LUNG.classes}
    np.testing.assert_array_equal(drawn(found, (64, 64), (20, 40), 2.0), mask)
    again, counts = merged(found, read(tmp_path / "a.json")["s-1"])
    assert (again, counts["as before"]) == (found, len(found))


def test_the_fields_library_reads_the_same(tmp_path):
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed: pip install pycocotools")
    rng = np.random.default_rng(1)
    masks = [np.kron(rng.integers(0, 5, (8, 8)), np.ones((8, 8), int)).astype(np.uint8) for _ in range(3)]
    pictures = [picture_of_mask(f"s-1-{number}-0.png", mask, LUNG) for number, mask in enumerate(masks)]
    ring = shapely.box(20, 20, 120, 100).difference(shapely.box(40, 40, 60, 60))
    plain = shapely.box(150, 30, 250, 130)
    areas = [Area(f"{n:032x}", NAMES[n], clean(shape, GROUND.size)) for n, shape in enumerate((ring, plain))]
    write_coco(tmp_path / "a.json", [*pictures, coco_picture("s-1.svs", GROUND, areas)], LUNG)
    library = coco.COCO(str(tmp_path / "a.json"))
    assert [item["name"] for item in library.loadCats(library.getCatIds())] == NAMES
    for number, mask in enumerate(masks, 1):
        for item in library.loadAnns(library.getAnnIds(imgIds=number)):
            np.testing.assert_array_equal(library.annToMask(item) == 1, mask == item["category_id"] - 1)
            assert item["area"] == (mask == item["category_id"] - 1).sum()
    holed, whole = library.loadAnns(library.getAnnIds(imgIds=4))
    np.testing.assert_array_equal(library.annToMask(holed) == 1, drawn(areas[:1]) == 0)
    np.testing.assert_array_equal(library.annToMask(whole) == 1, drawn(areas[1:]) == 1)
    from pycocotools import mask as its

    for mask in masks:  # compressed by it, read by us
        said = its.encode(np.asfortranarray((mask == 1).astype(np.uint8)))["counts"].decode()
        assert said == packed(run_lengths([mask == 1]))
        assert area_of(unpacked(said), 64, 64).area == (mask == 1).sum()


SQUARE = [10, 10, 60, 10, 60, 60, 10, 60]


def write_by_hand(path, segmentation=(SQUARE,), category="Tumour epithelium", name="s-1.png", size=(300, 200), **more):
    said = list(segmentation) if isinstance(segmentation, tuple) else segmentation
    content = {
        "images": [{"id": 9, "file_name": name, "width": size[0], "height": size[1]}],
        "annotations": [{"id": 4, "image_id": 9, "category_id": 7, "segmentation": said}],
        "categories": [{"id": 7, "name": category}],
    } | more
    path.write_text(json.dumps(content))
    return path


class TestOtherTools:
    @pytest.mark.parametrize("category", ["TE", "tumour epithelium", "Tumor"])
    def test_categories_by_any_name_of_a_class(self, tmp_path, category):
        (area,) = read(write_by_hand(tmp_path / "a.json", category=category))["s-1"]
        assert area.name == "Tumour epithelium"
        assert area.geometry.area == 2500

    def test_the_same_area_has_the_same_id(self, tmp_path):
        one, two = (read(write_by_hand(tmp_path / name))["s-1"] for name in ("a.json", "b.json"))
        assert merged(one, two) == (one, {"new": 0, "changed": 0, "as before": 1})

    def test_an_overview_of_a_slide(self, tmp_path):
        (area,) = read(write_by_hand(tmp_path / "a.json", name="views\\s-1.jpg", size=(150, 100)))["s-1"]
        assert area.geometry.bounds == (20, 20, 120, 120)

    def test_run_lengths_that_were_changed_count_over_our_outline(self, tmp_path):
        ring = shapely.box(20, 20, 120, 100).difference(shapely.box(40, 40, 60, 60))
        area = Area("a" * 32, NAMES[0], clean(ring, GROUND.size))
        write_coco(tmp_path / "a.json", [coco_picture("s-1.svs", GROUND, [area])], LUNG)
        content = json.loads((tmp_path / "a.json").read_text())
        filled = drawn([Area("", NAMES[0], clean(shapely.box(20, 20, 120, 100), GROUND.size))]) == 0
        content["annotations"][0]["segmentation"]["counts"] = packed(run_lengths([filled]))
        (tmp_path / "a.json").write_text(json.dumps(content))
        (found,) = read(tmp_path / "a.json")["s-1"]
        assert (found.id, found.geometry.area) == ("a" * 32, 8000)
        assert merged([area], [found])[1] == {"new": 0, "changed": 1, "as before": 0}

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"category": "Mucin"}, r"annotation 4: 'Mucin' is no class of vocabulary 'lung' \(TE, NEC"),
            ({"name": "s-2.png"}, "annotation 4: its image 's-2.png' is called by no slide of the cohort"),
            ({"name": "../s-2-1-1.png"}, "called by no slide"),
            ({"size": (300, 100)}, "does not span slide s-1, of which 300 x 200 px were scanned"),
            ({"name": "s-1-27-45.png"}, "is of 300 x 200 px, and patches are of 64"),
            ({"size": (300, "200")}, "no file_name, width or height"),
            ({"segmentation": ()}, "its segmentation is none"),
            ({"segmentation": ([1, 2, 3],)}, "its segmentation is none"),
            ({"segmentation": ([1, 2, 3, 4],)}, "nothing of it lies on slide s-1"),
            ({"segmentation": ([900, 900, 990, 900, 990, 990],)}, "nothing of it lies on slide s-1"),
            ({"segmentation": {"size": [300, 200], "counts": [60000]}}, "not of the image's size"),
            ({"segmentation": {"size": [200, 300], "counts": [59999]}}, "no run lengths of 300 x 200 px"),
            ({"segmentation": {"size": [200, 300], "counts": [-1, 60001]}}, "no run lengths"),
            ({"segmentation": {"size": [200, 300], "counts": "\u00e9"}}, "no text of run lengths"),
            ({"segmentation": {"size": [200, 300], "counts": "o" * 40}}, "no text of run lengths"),
            ({"segmentation": {"size": [200, 300], "counts": "o"}}, "breaks off"),
            ({"segmentation": {"size": [200, 300], "counts": None}}, "no run lengths"),
            ({"segmentation": None}, "its segmentation is none"),
            ({"images": []}, "its category or its image is not in the file"),
            ({"images": None}, "is no COCO of masks"),
            ({"categories": [{"id": 7}]}, "category: has no name"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path, given, message):
        with pytest.raises(InputError, match=message):
            read(write_by_hand(tmp_path / "a.json", **given))

    def test_no_json(self, tmp_path):
        with pytest.raises(InputError, match="no such file"):
            read(tmp_path / "a.json")
        (tmp_path / "a.json").write_text("[" * 100_000)
        with pytest.raises(InputError):
            read(tmp_path / "a.json")
