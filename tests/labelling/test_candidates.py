"""Candidates: the grid of `patches`, measured as the gates measure, once."""

import shutil

import numpy as np
import pandas as pd
import pytest

from tests.patches.conftest import Cohort as Slides
from wsss_mm import places
from wsss_mm.cohort import Cohort
from wsss_mm.errors import InputError
from wsss_mm.labelling import candidates
from wsss_mm.labelling.candidates import (
    find_candidates,
    make_candidates,
    raise_broken,
    read_candidates,
    write_candidates,
)
from wsss_mm.patches import VOCABULARIES
from wsss_mm.patches.appearance import image_statistics
from wsss_mm.patches.cutting import cut_slides
from wsss_mm.patches.images import read_image
from wsss_mm.settings import PatchSettings

SETTINGS = PatchSettings(
    mpp=1.0, size=128, min_tissue=0.5, leave_out_pen=True, min_class_share=0.03, valid_share=0.2, storage="auto"
)
TRUTH = np.zeros((384, 512), np.uint8)


@pytest.fixture
def slides(tmp_path):
    return Slides(tmp_path / "cohort")


def find(slides, **more):
    return find_candidates(Cohort.read(slides.table), SETTINGS, **more)


def test_they_are_the_patches_that_would_be_cut_and_look_as_the_gates_say(slides, tmp_path):
    slides.draw("roi.json", (None, 100, 60, 900, 700))
    for name, more in {"a": {"glass": 400}, "b": {"roi": "roi.json"}, "v": {}}.items():
        slides.add(name, "valid" if name == "v" else "train", site="Ghent" if name == "a" else "", **more)
    found = find(slides).table.set_index("patch_id")
    for name in "abv":  # now all of them are known, and are cut
        shutil.copy(_truth(tmp_path), _folder(slides.folder / "truth") / f"{name}.tif")
    assert find(slides).table.empty
    cut = cut_slides(Cohort.read(slides.table), tmp_path / "out", settings=SETTINGS, vocabulary=VOCABULARIES["lung"])
    cut = cut.set_index("patch_id")
    assert list(found.index) == list(cut.index)
    assert len(found) > 20
    for name in ("slide_id", "patient_id", "site", "split", "x", "y", "mpp", "size", "tissue"):
        assert found[name].tolist() == cut[name].tolist(), name
    for row in found.itertuples():
        looks = image_statistics(read_image(tmp_path / "out" / cut.loc[row.Index, "path"]))
        assert [row.focus, row.haematoxylin, row.eosin] == pytest.approx(
            [looks[name] for name in ("focus", "haematoxylin", "eosin")], abs=1e-6
        )


def _folder(path):
    path.mkdir(exist_ok=True)
    return path


def _truth(folder):
    import tifffile

    path = folder / "truth.tif"
    tifffile.imwrite(path, TRUTH, tile=(64, 64), compression="zlib")
    return path


def test_slides_that_are_known_whole_have_none_and_those_with_some_labels_have_all(slides):
    slides.draw("drawn.json", ("TE", 0, 0, 1024, 768))
    slides.add("truth", "train", truth=TRUTH).add("drawn-test", "test", annotation="drawn.json")
    slides.add("drawn-train", "train", annotation="drawn.json").add("labelled", "train").add("aside", "train")
    slides.labels.write_text("slide_id,x,y,labels\nlabelled,0,0,TE\n")
    found = find(slides, without={"aside"}, aside={"labelled-256-0"}).table
    assert found["slide_id"].value_counts().to_dict() == {"drawn-train": 12, "labelled": 11}


def test_labelled_patches_beside_the_grid_are_candidates_too(slides, tmp_path):
    """So that the map, what looks alike and the learning curve know what was labelled in another tool."""
    slides.draw("drawn.json", ("TE", 0, 0, 1024, 768))
    slides.add("a", "train", glass=512).add("v", "valid", annotation="drawn.json")
    on_grid = set(find(slides).table["patch_id"])
    slides.labels.write_text(
        "slide_id,x,y,labels\na,0,0,TE\na,10,20,TE\na,700,0,TE\na,10,20.0,TE\na,900,0,TE\nv,9,9,TE\n"
    )
    found = find(slides, memory=tmp_path / "memory").table.set_index("patch_id")
    assert set(found.index) - on_grid == {"a-10-20", "a-700-0"}  # not those that leave the slide, nor of outlined ones
    assert found.loc["a-10-20", "tissue"] == 1.0
    assert found.loc["a-700-0", "tissue"] < SETTINGS.min_tissue  # somebody has labelled it
    assert found.loc["a-10-20", "haematoxylin"] == found.loc["a-10-20", "haematoxylin"]
    pd.testing.assert_frame_equal(find(slides, memory=tmp_path / "memory").table.set_index("patch_id"), found)
    slides.labels.write_text("slide_id,x,y,labels\na,11,20,TE\na,x,20,TE\n")
    assert set(find(slides, memory=tmp_path / "memory").table["patch_id"]) - on_grid == {"a-11-20"}


def test_what_looks_like_pen_can_be_labelled_where_it_is_said_to_be_none(slides, tmp_path):
    slides.add("a", "train").mark("a", 512).labels.write_text("slide_id,x,y,labels\na,701,0,TE\n")
    stained = SETTINGS.model_copy(update={"leave_out_pen": False})
    for settings, count, tissue in ((SETTINGS, 6, 0.0), (stained, 12, 1.0), (SETTINGS, 6, 0.0)):
        found = find_candidates(Cohort.read(slides.table), settings, memory=tmp_path / "memory").table
        assert len(found) == count + 1
        beside = found.set_index("patch_id").loc["a-701-0"]
        assert beside["tissue"] == pytest.approx(tissue, abs=0.01)
        assert np.isfinite(beside["eosin"]) == (not settings.leave_out_pen)


def test_no_slides_no_candidates(slides, tmp_path):
    found = find(slides.add("a", "train", truth=TRUTH))
    write_candidates(found.table, tmp_path / "out")
    frame = read_candidates(tmp_path / "out")
    assert len(frame) == 0 == len(found.failed)
    assert list(frame.columns) == list(places.CANDIDATE_COLUMNS)


def test_a_broken_slide_is_named_and_takes_no_other_with_it(slides, caplog):
    slides.add("a", "train").add("b", "train").add("c", "valid", glass=1024)
    (slides.folder / "slides/b.tiff").write_bytes(b"no slide")
    found = find(slides)
    assert set(found.table["slide_id"]) == {"a"}
    with pytest.raises(InputError, match=r"b: .*b\.tiff: not a readable slide .*; mend these, or set them aside"):
        raise_broken(found.failed)
    with pytest.raises(InputError, match="not a readable slide"):
        make_candidates(Cohort.read(slides.table), SETTINGS)
    assert "c: no patch has enough tissue" in caplog.text


def test_a_slide_that_breaks_off_in_the_middle_has_none(slides, monkeypatch):
    slides.add("a", "train").add("b", "train")
    monkeypatch.setattr("wsss_mm.slides.SlideReader.read", _failing_at("a.tiff"))
    found = find(slides)
    assert set(found.table["slide_id"]) == {"b"}
    assert len(found.failed) == 1


def _failing_at(name):
    from wsss_mm.slides import SlideReader

    whole = SlideReader.read

    def read(self, x, y, size, mpp):
        if self.path.name == name and (x, y) == (512, 256):
            raise InputError(f"{self.path}: cannot be read at x={x}")
        return whole(self, x, y, size, mpp)

    return read


class TestMemory:
    @pytest.fixture
    def reads(self, monkeypatch):
        """Names of the slides that were opened, one for each time."""
        opened, opens = [], candidates.Slide.open
        monkeypatch.setattr(candidates.Slide, "open", lambda self: (opened.append(self.slide_id), opens(self))[1])
        return opened

    @pytest.fixture
    def known(self, slides):
        """Slides with a quickhash, as stage cohort writes them."""
        return slides.add("a", "train", quickhash="1" * 8).add("b", "train", quickhash="2" * 8)

    @pytest.fixture(autouse=True)
    def same(self, monkeypatch):
        """Every slide is the one that the table says."""
        opens = candidates.Slide.open
        monkeypatch.setattr(
            candidates.Slide, "open", lambda self: opens(candidates.Slide(**{**vars(self), "quickhash": ""}))
        )

    def test_what_was_measured_is_not_measured_again(self, known, tmp_path, reads):
        first = find(known, memory=tmp_path / "memory").table
        assert sorted(set(reads)) == ["a", "b"]
        reads.clear()
        known.add("c", "valid", quickhash="3" * 8)
        second = find(known, memory=tmp_path / "memory").table
        assert set(reads) == {"c"}
        pd.testing.assert_frame_equal(first, second[second["slide_id"] != "c"].reset_index(drop=True))

    def test_another_slide_region_or_resolution_is(self, known, tmp_path, reads):
        find(known, memory=tmp_path / "memory")
        reads.clear()
        known.rows[0] |= {"quickhash": "9" * 8}
        known.add("c", "valid", quickhash="3" * 8)
        find(known, memory=tmp_path / "memory")
        assert set(reads) == {"a", "c"}
        reads.clear()
        other = SETTINGS.model_copy(update={"mpp": 2.0})
        find_candidates(Cohort.read(known.table), other, memory=tmp_path / "memory")
        assert set(reads) == {"a", "b", "c"}

    def test_work_that_was_cut_short_goes_on(self, known, tmp_path, monkeypatch):
        monkeypatch.setattr(candidates, "_PIECE", 5)
        whole = find(known).table
        looked, look = [], candidates._Survey._look

        def stops(self, piece):
            if len(looked) == 3:
                raise KeyboardInterrupt
            looked.append((piece.slide.slide_id, *piece.corners[0]))
            return look(self, piece)

        monkeypatch.setattr("wsss_mm.patches.parallel.os.cpu_count", lambda: 1)
        monkeypatch.setattr(candidates._Survey, "_look", stops)
        with pytest.raises(KeyboardInterrupt):
            find(known, memory=tmp_path / "memory")
        before = list(looked)
        looked[:] = [None] * 10  # never stops again
        pd.testing.assert_frame_equal(find(known, memory=tmp_path / "memory").table, whole)
        assert len(before) == 3
        assert not set(before) & set(looked[10:])

    @pytest.mark.parametrize("damage", [b"", b"PAR1 nonsense"])
    def test_what_is_damaged_is_measured_anew(self, known, tmp_path, damage):
        whole = find(known, memory=tmp_path / "memory").table
        for path in (tmp_path / "memory").rglob("*.parquet"):
            path.write_bytes(damage)
        pd.testing.assert_frame_equal(find(known, memory=tmp_path / "memory").table, whole)


class TestTable:
    @pytest.fixture
    def frame(self, slides):
        return find(slides.add("a", "train", site="Ghent").add("b", "valid")).table

    def test_bytes_are_the_same_twice_and_reading_gives_what_was_written(self, frame, tmp_path):
        paths = [write_candidates(frame, tmp_path / name) for name in "pq"]
        assert paths[0].read_bytes() == paths[1].read_bytes()
        read = read_candidates(tmp_path / "p")
        pd.testing.assert_frame_equal(read, frame)
        assert [value for value in read["site"] if value is None] == [None] * 12
        assert read["x"].dtype == read["size"].dtype == np.int64

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda f: f.drop(columns="y"), "column y is missing"),
            (lambda f: f.assign(split="none"), "column split holds 'none'"),
            (lambda f: f.assign(mpp=0.0), "column mpp holds 0.0"),
            (lambda f: f.assign(tissue=np.nan), "column tissue is empty in 24 rows"),
            (lambda f: f.assign(slide_id="../x"), "slide_id '../x' cannot name a file"),
            (lambda f: f.iloc[::-1], "not sorted by patch_id"),
            (lambda f: f.assign(x=f["x"] + 1), "does not say where its patch lies"),
        ],
    )
    def test_what_is_wrong_is_said(self, frame, tmp_path, change, message):
        import pyarrow as pa

        from wsss_mm.formats import write_rows

        table = pa.Table.from_pandas(change(frame), preserve_index=False)
        write_rows(tmp_path / "candidates.parquet", places.CANDIDATE_TABLE, table)
        with pytest.raises(InputError, match=rf"candidates\.parquet: damaged: .*{message}.*; .* dvc repro -f candid"):
            read_candidates(tmp_path)

    def test_none_is_made_with_a_command(self, tmp_path):
        with pytest.raises(InputError, match=r"candidates\.parquet: not found; make it with: dvc repro candidates"):
            read_candidates(tmp_path)

    def test_what_is_looked_at_one_by_one_are_the_slides(self, frame, tmp_path, monkeypatch):
        """How long a million take: benchmarks/labelling.py."""
        looked_at, plain = [], candidates.is_plain_name
        monkeypatch.setattr(candidates, "is_plain_name", lambda name: looked_at.append(name) or plain(name))
        for n in (100, 200):
            many = pd.DataFrame({"slide_id": np.repeat([f"s{k}" for k in range(10)], n // 10)})
            many["x"], many["y"] = np.arange(n) * 448, 0
            many["patch_id"] = many["slide_id"] + "-" + many["x"].astype(str) + "-0"
            many = many.assign(**{name: frame.iloc[0][name] for name in frame.columns if name not in many.columns})
            write_candidates(many.sort_values("patch_id"), tmp_path / f"of-{n}")
            looked_at.clear()
            assert len(read_candidates(tmp_path / f"of-{n}")) == n
            assert sorted(looked_at) == [f"s{k}" for k in range(10)]
