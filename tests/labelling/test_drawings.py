"""What people drew: exact there and back, never overwritten unseen, and nobody else's file touched."""

import json
import multiprocessing
import time
from uuid import uuid4

import numpy as np
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wsss_mm.errors import InputError
from wsss_mm.labelling.drawings import (
    IGNORED,
    REGION,
    Area,
    StaleError,
    clean,
    drawing_path,
    from_rings,
    names_of,
    read_drawing,
    stroke,
    to_rings,
    write_drawing,
)
from wsss_mm.slides.roi import read_annotations, read_region
from wsss_mm.vocabulary import get_vocabulary

SIZE = (4000, 3000)
VOCABULARY = get_vocabulary("luad_normal")
COLORS = names_of("masks", VOCABULARY)
TE, NEC = VOCABULARY.classes[0].name, VOCABULARY.classes[1].name
HOLED = [[[[10, 10], [500.25, 10], [500.25, 400], [10, 400], [10, 10]], [[50, 50], [99.99, 50], [50, 90], [50, 50]]]]
SQUARE = [[[[600, 600], [700, 600], [700, 700], [600, 700], [600, 600]]]]


def area(rings, name=TE, identity=None):
    return Area(identity or uuid4().hex, name, clean(from_rings(rings), SIZE))


def write(path, areas, edit="", request=None, slide="s"):
    return write_drawing(path, slide, areas, edit=edit, request=request or uuid4().hex, colors=COLORS)


def test_round_trip_is_exact(tmp_path):
    path = drawing_path("masks", "s", tmp_path)
    brushed = Area(uuid4().hex, NEC, clean(stroke([[900, 900], [1200.5, 1000], [1100, 1300]], 61.3), SIZE))
    two = area([*SQUARE, [[[1, 1], [5, 1], [5, 5], [1, 1]]]], IGNORED)
    areas = [area(HOLED), brushed, two]
    written = write(path, areas)
    assert written.areas == tuple(areas)
    assert read_drawing(path, "s") == written

    found = read_annotations(path)
    assert [item.name for item in found] == [TE, NEC, IGNORED]
    for item, own in zip(found, areas, strict=True):
        assert shapely.equals_exact(shapely.normalize(item.geometry), shapely.normalize(own.geometry))
    moved = read_annotations(path, origin=(100, 200), size=SIZE)[0].geometry
    assert moved.bounds == (110, 210, 600.25, 600)

    features = json.loads(path.read_text())["features"]
    shapes = [shapely.from_geojson(json.dumps(feature["geometry"])) for feature in features]
    assert [shape.geom_type for shape in shapes] == ["Polygon", "Polygon", "MultiPolygon"]
    assert shapes[0].equals_exact(areas[0].geometry.geoms[0])
    assert features[0]["properties"] == {
        "objectType": "annotation",
        "classification": {"name": TE, "color": list(VOCABULARY.classes[0].color)},
    }


RINGS = st.lists(st.tuples(st.floats(0, 4000), st.floats(0, 3000)), min_size=3, max_size=12)


@given(st.lists(st.tuples(st.sampled_from([TE, NEC, IGNORED]), RINGS, RINGS), min_size=1, max_size=4))
@settings(max_examples=30, deadline=None)
def test_any_outlines_come_back_as_they_were_drawn(tmp_path_factory, drawn):
    """Kept, read by the page, and read by the line as of any GeoJSON: holes and parts that touch as well."""
    path = drawing_path("masks", "s", tmp_path_factory.mktemp("drawn"))
    shapes = [
        (name, shapely.make_valid(shapely.Polygon(ring)).difference(shapely.make_valid(shapely.Polygon(hole))))
        for name, ring, hole in drawn
    ]
    cleaned = [(name, clean(shape, SIZE)) for name, shape in shapes]
    areas = [Area(uuid4().hex, name, shape) for name, shape in cleaned if not shape.is_empty]
    if not areas:
        return
    write(path, areas)
    kept = read_drawing(path, "s").areas
    said = [(one.id, one.name, to_rings(one.geometry)) for one in areas]
    assert [(one.id, one.name, to_rings(one.geometry)) for one in kept] == said
    for found, own in zip(read_annotations(path), areas, strict=True):
        assert found.name == own.name
        assert shapely.equals(found.geometry, own.geometry)


def test_regions_are_read_as_the_line_reads_them(tmp_path):
    path = drawing_path("regions", "s", tmp_path)
    write_drawing(
        path, "s", [area(SQUARE, REGION)], edit="", request=uuid4().hex, colors=names_of("regions", VOCABULARY)
    )
    assert read_region(path).bounds == (600, 600, 100, 100)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.floats(-50, 4100), st.floats(-50, 3100)), min_size=3, max_size=25))
@example([(101, 0), (0, 1), (0, 2), (1, 0), (0, 1), (201, -1), (0, 0)])  # two parts with an edge in common
def test_what_is_cleaned_once_stays_as_it_is(corners):
    geometry = clean(from_rings([[[list(corner) for corner in corners]]]), SIZE)
    assert clean(geometry, SIZE).equals_exact(geometry)
    assert clean(from_rings(to_rings(geometry)), SIZE).equals_exact(geometry)
    assert geometry.is_valid
    assert geometry.is_empty or (geometry.bounds[0] >= 0 and geometry.bounds[2] <= SIZE[0])


def test_outlines_that_cross_themselves_hold_all_they_go_round():
    bow = clean(from_rings([[[[0, 0], [100, 100], [100, 0], [0, 100]]]]), SIZE)
    assert bow.area == pytest.approx(5000)
    assert len(bow.geoms) == 2


def test_a_stroke_has_its_width():
    assert stroke([[100, 100]], 10).area == pytest.approx(np.pi * 100, rel=0.03)
    assert stroke([[100, 100], [200, 100]], 10).area == pytest.approx(2000 + np.pi * 100, rel=0.015)
    for wrong in ([], [[1]], [["a", 2]], [[np.nan, 1]], "no", None, [[1e12, 0]]):
        with pytest.raises(ValueError, match="no list of places"):
            stroke(wrong, 10)
    with pytest.raises(ValueError, match="no radius"):
        stroke([[1, 1]], 0)


def test_who_has_not_seen_the_last_edit_overwrites_nothing(tmp_path):
    path = drawing_path("masks", "s", tmp_path)
    first = write(path, [area(SQUARE)])
    second = write(path, [*first.areas, area(HOLED, NEC)], first.edit)
    assert (first.number, second.number) == (1, 2)
    before = path.read_bytes()
    for edit in (first.edit, "", "2-0000000000000000"):
        with pytest.raises(StaleError, match="somebody else"):
            write(path, [area(HOLED)], edit)
        with pytest.raises(StaleError):
            write(path, [], edit)
    assert path.read_bytes() == before

    path.write_bytes(before.replace(b"600.0", b"601.0"))  # the same number, by hand or by git
    with pytest.raises(StaleError):
        write(path, [area(HOLED)], second.edit)


def test_a_request_sent_twice_is_written_once(tmp_path):
    path, request = drawing_path("masks", "s", tmp_path), uuid4().hex
    first = write(path, [area(SQUARE)], request=request)
    assert write(path, [area(SQUARE)], request=request) == first
    assert write(path, [], first.edit).edit == ""
    assert not path.exists()
    assert write(path, [], first.edit).edit == ""  # gone, as was wanted
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "damaged"),
        ("<<<<<<< HEAD\n{}\n", "damaged"),
        ("[1, 2]", "damaged"),
        ('{"type": "FeatureCollection", "features": []}', "was not drawn here"),
        ('{"features": [], "wsss_mm": {"slide": "t", "edit": 1}}', "was drawn on slide 't'"),
        ('{"features": [{}], "wsss_mm": {"slide": "s", "edit": 1}}', "damaged, one of its areas"),
        ('{"features": 5, "wsss_mm": {"slide": "s", "edit": 1}}', "damaged, one of its areas"),
    ],
)
def test_files_of_others_and_damaged_ones_are_named_and_left(tmp_path, text, said):
    path = drawing_path("masks", "s", tmp_path)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    for act in (lambda: read_drawing(path, "s"), lambda: write(path, [area(SQUARE)]), lambda: write(path, [])):
        with pytest.raises(InputError, match=said) as error:
            act()
        assert str(path) in str(error.value)
    assert path.read_text() == text


def test_names_that_no_file_can_have_get_files_of_their_own(tmp_path):
    paths = {drawing_path("masks", name, tmp_path) for name in ("a/b", "../a", "a b", "con", "é")}
    assert len(paths) == 5
    assert {path.parent for path in paths} == {tmp_path / "masks"}


def _add_many(path, count):
    for _ in range(count):
        while True:
            there = read_drawing(path, "s")
            try:
                write(path, [*there.areas, area(SQUARE)], there.edit)
                break
            except StaleError:
                continue


def test_two_at_once_lose_nothing(tmp_path):
    path = drawing_path("masks", "s", tmp_path)
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=_add_many, args=(path, 5)) for _ in range(2)]
    for other in others:
        other.start()
    for other in others:
        other.join(60)
    drawing = read_drawing(path, "s")
    assert (len(drawing.areas), drawing.number) == (10, 10)


def _draw_on(path, pipe):
    there = read_drawing(path, "s")
    while True:
        there = write(path, [*there.areas[-20:], area(HOLED)], there.edit)
        pipe.send(there.edit)


def test_who_is_killed_while_writing_loses_nothing_that_was_said_to_be_saved(tmp_path):
    path, rng = drawing_path("masks", "s", tmp_path), np.random.default_rng(3)
    context = multiprocessing.get_context("spawn")
    for _ in range(5):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_draw_on, args=(path, sender))
        process.start()
        sender.close()
        said = receiver.recv()
        time.sleep(rng.uniform(0, 0.03))
        process.kill()
        process.join()
        while receiver.poll():
            try:
                said = receiver.recv()
            except EOFError:
                break
        receiver.close()
        process.close()
        drawing = read_drawing(path, "s")
        assert drawing.edit == said or drawing.number == int(said.split("-")[0]) + 1
    write(path, drawing.areas, drawing.edit)
    assert list(path.parent.iterdir()) == [path]  # nor is anything left behind
