import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsss_mm.cohort import Cohort
from wsss_mm.cohort.splits import hold_out
from wsss_mm.errors import InputError
from wsss_mm.names import is_plain_name
from wsss_mm.patches import IGNORE, get_vocabulary, read_manifest, write_manifest
from wsss_mm.patches.images import read_image, read_label_map
from wsss_mm.patches.importers import _given, import_patches, list_slides
from wsss_mm.patches.layout import SourceFile, find_files
from wsss_mm.settings import PatchSettings
from wsss_mm.slides.table import write_slide_table
from wsss_mm.sources import SOURCES, label_of, origin_of, without_label

LUNG, BREAST, NORMAL = map(get_vocabulary, ("lung", "breast", "luad_normal"))
SIZE = 32


def settings(size=SIZE, mpp=1.0):
    return PatchSettings(
        mpp=mpp, size=size, min_tissue=0.25, leave_out_pen=True, min_class_share=0.03, valid_share=0.5, storage="auto"
    )


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8)).save(path)
    return path


def image(value=100, size=SIZE):
    return np.full((size, size, 3), value)


@pytest.fixture
def luad(tmp_path):
    """A small LUAD-HistoSeg: three slides to train on, one each to validate and test."""
    source = tmp_path / "luad"
    for index, label in enumerate(["-[1 0 0 1]", "[0 1 0 0]", "-[0, 0, 1, 1]"]):
        save(source / "training" / f"10{index}-0-{index}{label}.png", image(index))
    for split, slide in (("val", 200), ("test", 300)):
        mask = np.zeros((SIZE, SIZE))
        mask[:4], mask[4:8] = 3, 4
        save(source / split / "img" / f"{slide}-5-6.png", image())
        save(source / split / "mask" / f"{slide}-5-6.png", mask)
    return source


def run(name, source, out, vocabulary=LUNG, **changes):
    table = out.with_name(f"{out.name}-slides.csv")
    write_slide_table(hold_out(list_slides(name, source), 0.5, 0, str(source)), table)
    return import_patches(name, source, out, Cohort.read(table), settings=settings(**changes), vocabulary=vocabulary)


class TestNames:
    @pytest.mark.parametrize("tail", ["[1011]", "-[1011]", "-[1 0 1 1]", "-[1, 0, 1, 1]", "[1,0,1,1]", " [1 0 1 1]"])
    def test_every_way_a_label_is_written(self, tmp_path, tail):
        assert label_of(tmp_path / f"5-10-20{tail}.png", LUNG) == (True, False, True, True)
        origin = origin_of(tmp_path / f"5-10-20{tail}.png", "train", SOURCES["luad_histoseg"])
        assert (origin.slide_id, origin.x, origin.y) == ("5", 10, 20)

    def test_label_of_another_number_of_classes(self, tmp_path):
        with pytest.raises(InputError, match=r"a\[101\]\.png: label for 3 classes, but vocabulary 'lung' has 4"):
            label_of(tmp_path / "a[101].png", LUNG)

    @pytest.mark.parametrize("name", ["a.png", "a[].png", "a[2000].png", "a[1000]x.png"])
    def test_no_label(self, tmp_path, name):
        with pytest.raises(InputError, match="label"):
            label_of(tmp_path / name, LUNG)

    def test_tcga_barcode_gives_slide_and_patient(self, tmp_path):
        path = tmp_path / "TCGA-A1-A0SK-DX1_xmin45749_ymin25055_MPP-0.2500+0[1101].png"
        origin = origin_of(path, "train", SOURCES["bcss_wsss"])
        assert (origin.slide_id, origin.patient_id) == ("TCGA-A1-A0SK-DX1", "TCGA-A1-A0SK")

    def test_unreadable_name_shows_what_is_expected(self, tmp_path):
        with pytest.raises(InputError, match=r"x\.png.*look like 1031280-2300"):
            origin_of(tmp_path / "x.png", "test", SOURCES["luad_histoseg"])

    @pytest.mark.parametrize(
        ("source", "pattern"),
        [
            ("luad_histoseg", "{}-1-2.png"),
            ("bcss_wsss", "{}_xmin1_ymin2_MPP-0.2500+0.png"),
            ("wsss4luad", "{}-1-2.png"),
        ],
    )
    def test_different_names_are_different_slides_patients_and_patches(self, tmp_path, source, pattern):
        names = [
            "Muller",
            "M\u00fcller",
            "M\u00f6ller",
            "M_ller",
            "M+ller",
            "\u738b",
            "\u674e",
            "_",
            "a_b",
            "a__b",
            "a b",
        ]
        origins = [origin_of(tmp_path / pattern.format(name), "train", SOURCES[source]) for name in names]
        for part in ("slide_id", "patient_id", "patch_id"):
            assert len({getattr(origin, part) for origin in origins}) == len(names)
            assert all(is_plain_name(getattr(origin, part)) for origin in origins)

    def test_a_name_from_macos_is_that_of_linux(self, tmp_path):
        one, other = (
            origin_of(tmp_path / f"{name}-1-2.png", "train", SOURCES["luad_histoseg"])
            for name in ("M\u00fcller", "Mu\u0308ller")
        )
        assert one == other
        for folder, name in (
            ("train", "a-0-0[1000]"),
            ("val/img", "M\u00fcller-1-2"),
            ("val/mask", "Mu\u0308ller-1-2"),
        ):
            (tmp_path / folder).mkdir(parents=True)
            (tmp_path / folder / f"{name}.png").touch()
        (valid,) = (item for item in find_files(tmp_path, without_label) if item.split == "valid")
        assert valid.mask is not None
        (tmp_path / "val/img/Mu\u0308ller-1-2.png").touch()
        with pytest.raises(InputError, match="names the same patch"):
            find_files(tmp_path, without_label)

    def test_ids_of_published_names_are_what_they_were(self, tmp_path):
        bcss = "TCGA-A1-A0SK-DX1_xmin45749_ymin25055_MPP-0.2500+0[1101].png"
        found = origin_of(tmp_path / bcss, "train", SOURCES["bcss_wsss"]).patch_id
        assert found == "TCGA-A1-A0SK-DX1_xmin45749_ymin25055_MPP-0.2500_0"
        luad = "1031280-2300-27920-[1 0 0 1].png"
        assert origin_of(tmp_path / luad, "train", SOURCES["luad_histoseg"]).patch_id == "1031280-2300-27920"


class TestImport:
    def test_manifest_says_what_names_and_masks_say(self, luad, tmp_path):
        out = tmp_path / "out"
        frame = run("luad_histoseg", luad, out)
        write_manifest(frame, out)
        rows = read_manifest(out, LUNG).set_index("patch_id")
        assert rows["split"].to_dict() == {
            **dict.fromkeys(["100-0-0", "101-0-1", "102-0-2"], "train"),
            "200-5-6": "valid",
            "300-5-6": "test",
        }
        assert rows.loc["102-0-2", list(LUNG.codes)].tolist() == [False, False, True, True]
        assert rows.loc["300-5-6", list(LUNG.codes)].tolist() == [True, False, False, True]  # from the mask
        assert rows["mask_path"].notna().tolist() == [False, False, False, True, True]
        mask = read_label_map(out / rows.loc["300-5-6", "mask_path"])
        assert mask[[0, 5, 20], 0].tolist() == [3, IGNORE, 0]
        assert (read_image(out / rows.loc["102-0-2", "path"]) == 2).all()

    def test_labels_in_evaluation_names_are_not_read(self, luad, tmp_path):
        for folder in ("img", "mask"):
            path = luad / "test" / folder / "300-5-6.png"
            path.rename(path.with_name(f"300-5-6{'-[0 1 1 0]' if folder == 'img' else ''}.png"))
        frame = run("luad_histoseg", luad, tmp_path / "out").set_index("patch_id")
        assert frame.loc["300-5-6", list(LUNG.codes)].tolist() == [True, False, False, True]

    @pytest.mark.parametrize("names", [("train", "valid", "images", "masks"), ("Training", "Val", "img", "mask")])
    def test_folder_names_vary(self, luad, tmp_path, names):
        train, valid, images, masks = names
        (luad / "training").rename(luad / train)
        (luad / "val").rename(luad / valid)
        (luad / valid / "img").rename(luad / valid / images)
        (luad / valid / "mask").rename(luad / valid / masks)
        assert len(run("luad_histoseg", luad, tmp_path / "out")) == 5

    def test_import_is_the_same_twice(self, luad, tmp_path):
        for name in ("a", "b"):
            write_manifest(run("luad_histoseg", luad, tmp_path / name), tmp_path / name)
        files = [sorted(p.relative_to(tmp_path / n) for p in (tmp_path / n).rglob("*.*")) for n in ("a", "b")]
        assert files[0] == files[1]
        assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files[0])

    def test_orphans_are_named_and_left_out(self, luad, tmp_path, caplog):
        save(luad / "test" / "img" / "301-0-0.png", image())
        save(luad / "test" / "mask" / "302-0-0.png", np.zeros((SIZE, SIZE)))
        with caplog.at_level(logging.WARNING):
            frame = run("luad_histoseg", luad, tmp_path / "out")
        assert len(frame) == 5
        assert "301-0-0.png has no mask" in caplog.text
        assert "302-0-0.png has no image" in caplog.text

    def test_unlabelled_training_patch_is_left_out(self, luad, tmp_path, caplog):
        save(luad / "training" / "109-0-0-[0 0 0 0].png", image())
        assert len(run("luad_histoseg", luad, tmp_path / "out")) == 5
        assert "1 training patches are labelled with no class" in caplog.text

    def test_without_a_valid_split_whole_slides_are_held_out(self, luad, tmp_path):
        for path in sorted((luad / "val").rglob("*.png")):
            path.unlink()
        for folder in ("val/img", "val/mask", "val"):
            (luad / folder).rmdir()
        save(luad / "training" / "100-9-9[1 0 0 0].png", image())
        frame = run("luad_histoseg", luad, tmp_path / "out")
        assert set(frame["split"]) == {"train", "valid", "test"}
        assert frame.groupby("slide_id")["split"].nunique().max() == 1
        assert not frame.loc[frame["split"] == "valid", "mask_path"].notna().any()
        splits = Cohort.read(tmp_path / "out-slides.csv").splits  # decided there, once
        assert frame["slide_id"].map(splits).tolist() == frame["split"].tolist()

    def test_patients_of_unlabelled_patches_alone_are_not_held_out(self, luad, tmp_path):
        shutil.rmtree(luad / "val")
        for index in range(20):
            save(luad / "training" / f"9{index}-0-0-[0 0 0 0].png", image())
        frame = run("luad_histoseg", luad, tmp_path / "out")
        assert frame["split"].value_counts().to_dict() == {"train": 1, "valid": 2, "test": 1}

    def test_sites_are_those_of_the_table_of_slides(self, luad, tmp_path):
        table = tmp_path / "slides.csv"
        slides = hold_out(list_slides("luad_histoseg", luad), 0.5, 0, str(luad))
        write_slide_table(slides.assign(site=slides["slide_id"].map({"300": "Ghent"})), table)
        cohort = Cohort.read(table)
        frame = import_patches("luad_histoseg", luad, tmp_path / "out", cohort, settings=settings(), vocabulary=LUNG)
        assert frame.groupby("site")["slide_id"].unique().map(list).to_dict() == {"Ghent": ["300"]}
        assert frame["site"].isna().sum() == 4

    def test_a_table_of_another_state_of_the_data_set_is_refused(self, luad, tmp_path):
        run("luad_histoseg", luad, tmp_path / "out")
        cohort = Cohort.read(tmp_path / "out-slides.csv")
        new = save(luad / "training" / "777-0-0-[1 0 0 1].png", image())
        with pytest.raises(
            InputError, match=rf"{new.name[:3]}.*'777' in split none, but it lies in train .*repro cohort"
        ):
            import_patches("luad_histoseg", luad, tmp_path / "out", cohort, settings=settings(), vocabulary=LUNG)

    def test_a_mask_gives_the_classes_of_the_least_share(self, luad, tmp_path):
        mask = np.full((SIZE, SIZE), 2)
        mask[0, :30], mask[1, :31] = 0, 3  # 2.93 % and 3.03 %
        save(luad / "test/mask/300-5-6.png", mask)
        frame = run("luad_histoseg", luad, tmp_path / "out").set_index("split")
        assert frame.loc["test", list(LUNG.codes)].tolist() == [False, False, True, True]

    def test_tissue_is_what_is_coloured(self, luad, tmp_path):
        save(luad / "test/img/300-5-6.png", np.full((SIZE, SIZE, 3), (180, 90, 150)))
        frame = run("luad_histoseg", luad, tmp_path / "out").set_index("split")
        assert (frame.loc["test", "tissue"], frame.loc["valid", "tissue"]) == (1, 0)  # the other is a dark grey

    def test_regions_are_tiled_and_numbered_apart_from_training_regions(self, tmp_path):
        source = tmp_path / "wsss4luad"
        save(source / "training" / "00-0-0-[1, 1, 0].png", image())
        save(source / "training" / "01-0-0-[0, 0, 1].png", image())
        mask = np.full((240, 300), 3)
        mask[:, :250] = 1
        for split, number in (("valid", "00"), ("test", "01")):
            save(source / split / "img" / f"{number}.png", np.full((240, 300, 3), 90))
            save(source / split / "mask" / f"{number}.png", mask)
        frame = run("wsss4luad", source, tmp_path / "out", NORMAL)
        tiles = frame[frame["split"] == "test"]
        assert tiles["patient_id"].unique().tolist() == ["region-01"]
        assert frame.loc[frame["split"] == "train", "patient_id"].tolist() == ["train-00", "train-01"]
        assert set(tiles["size"]) == {224}
        assert set(zip(tiles["x"], tiles["y"], strict=True)) == {(0, 0), (76, 0), (0, 16), (76, 16)}
        pixels = sum((read_label_map(tmp_path / "out" / path) == 1).sum() for path in tiles["mask_path"])
        assert pixels == 240 * 250


class TestFaults:
    def test_wrong_size_is_named(self, luad, tmp_path):
        save(luad / "training" / "104-0-0[1 0 0 0].png", image(size=30))
        with pytest.raises(InputError, match=r"104-0-0\[1 0 0 0\]\.png: 30 x 30 px, but patches.size .* is 32"):
            run("luad_histoseg", luad, tmp_path / "out")

    def test_mask_of_another_size_is_named(self, luad, tmp_path):
        save(luad / "test" / "mask" / "300-5-6.png", np.zeros((8, 8)))
        with pytest.raises(InputError, match=r"300-5-6\.png: 8 x 8 px, but its image has 32 x 32"):
            run("luad_histoseg", luad, tmp_path / "out")

    @pytest.mark.parametrize("function", ["list", "import"])
    def test_slide_in_two_splits(self, luad, tmp_path, function):
        save(luad / "training" / "300-0-0[1 0 0 0].png", image())
        with pytest.raises(InputError, match="patient 300 is in test and train"):
            list_slides("luad_histoseg", luad) if function == "list" else run("luad_histoseg", luad, tmp_path / "out")

    def test_damaged_image_is_named(self, luad, tmp_path):
        (luad / "training" / "104-0-0[1 0 0 0].png").write_bytes(b"x")
        with pytest.raises(InputError, match=r"104-0-0.*cannot be read"):
            run("luad_histoseg", luad, tmp_path / "out")

    def test_same_patch_twice(self, luad, tmp_path):
        save(luad / "training" / "100-0-0[1 0 0 0].png", image())
        with pytest.raises(InputError, match=r"names the same patch as 100-0-0-\[1 0 0 1\]\.png"):
            run("luad_histoseg", luad, tmp_path / "out")

    def test_vocabulary_and_mpp_must_be_the_data_sets(self, luad, tmp_path):
        with pytest.raises(
            InputError, match=r"cohort\.vocabulary: is 'breast', but luad_histoseg has the classes of 'lung'"
        ):
            run("luad_histoseg", luad, tmp_path / "out", BREAST)
        with pytest.raises(InputError, match=r"patches.mpp: is 0.25, but .* at 1.0"):
            run("luad_histoseg", luad, tmp_path / "out", mpp=0.25)

    def test_layout(self, luad, tmp_path):
        with pytest.raises(InputError, match="no such folder"):
            list_slides("luad_histoseg", tmp_path / "nowhere")
        with pytest.raises(InputError, match="no training images"):
            list_slides("luad_histoseg", luad / "val")
        (luad / "train").mkdir()
        with pytest.raises(InputError, match="has both train/ and training/"):
            list_slides("luad_histoseg", luad)

    def test_evaluation_without_masks(self, luad):
        (luad / "test" / "mask").rename(luad / "test" / "elsewhere")
        with pytest.raises(InputError, match=r"test: has no mask/ folder"):
            list_slides("luad_histoseg", luad)

    def test_unknown_cohort(self, luad):
        with pytest.raises(InputError, match="choose from luad_histoseg, bcss_wsss, wsss4luad"):
            list_slides("liver", luad)


@pytest.mark.real_data
class TestRealData:
    def test_bcss(self, real_data, tmp_path):
        source = real_data / "bcss_wsss"
        frame = run("bcss_wsss", source, tmp_path, BREAST, size=224, mpp=0.25)
        assert frame["split"].value_counts().to_dict() == {"train": 238, "valid": 14, "test": 14}
        train = frame[frame["split"] == "train"]
        assert train[list(BREAST.codes)].sum().tolist() == [127, 190, 52, 62]
        test = frame[frame["split"] == "test"]
        pixels = sum(np.bincount(read_label_map(tmp_path / p).ravel(), minlength=256) for p in test["mask_path"])
        assert pixels[:5].tolist() == [264824, 239355, 184192, 0, 0]
        slides = list_slides("bcss_wsss", source)
        assert slides["patient_id"].tolist() == ["TCGA-A1-A0SK", "TCGA-A1-A0SP", "TCGA-D8-A27F", "TCGA-EW-A1PB"]
        assert slides["site"].tolist() == ["A1", "A1", "D8", "EW"]

    def test_wsss4luad(self, real_data, tmp_path):
        frame = run("wsss4luad", real_data / "wsss4luad", tmp_path, NORMAL, size=112)
        assert (frame["split"] == "train").sum() == 828
        assert frame.groupby("split")["patient_id"].nunique().to_dict() == {"test": 15, "train": 67, "valid": 16}
        test = frame[frame["split"] == "test"]
        pixels = sum(np.bincount(read_label_map(tmp_path / p).ravel(), minlength=256) for p in test["mask_path"])
        assert pixels[:4].tolist() == [482162, 491728, 73208, 0]  # every pixel of the regions once


class TestLinks:
    def test_the_folder_itself_may_be_a_link(self, luad, tmp_path):
        (tmp_path / "link").symlink_to(luad)
        assert len(list_slides("luad_histoseg", tmp_path / "link")) == 5

    def test_links_inside_it_are_fine(self, luad):
        (luad / "training" / "109-0-0[1000].png").symlink_to(next(iter((luad / "training").iterdir())))
        assert len(list_slides("luad_histoseg", luad)) == 6

    @pytest.mark.parametrize("place", ["training/109-0-0[1000].png", "val/mask/200-5-6.png", "test/img/300-5-6.png"])
    def test_one_that_leads_out_is_refused(self, luad, tmp_path, place):
        secret = save(tmp_path / "secret.png", image())
        (luad / place).unlink(missing_ok=True)
        (luad / place).symlink_to(secret)
        with pytest.raises(InputError, match=r"a link that leads out of .*; copy the file there") as caught:
            list_slides("luad_histoseg", luad)
        assert place in str(caught.value)

    def test_a_folder_that_leads_out_is_refused(self, luad, tmp_path):
        (luad / "training").rename(tmp_path / "elsewhere")
        (luad / "training").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(InputError, match="a link that leads out of"):
            list_slides("luad_histoseg", luad)

    def test_links_into_the_cache_of_dvc_are_its_own(self, luad, tmp_path):
        cached = save(tmp_path / "cache/files/md5/ab/0123456789abcdef0123456789abcd.png", image())
        cached = cached.rename(cached.with_suffix(""))
        (luad / "training" / "109-0-0[1000].png").symlink_to(cached)
        assert len(list_slides("luad_histoseg", luad)) == 6


def test_an_evaluation_image_without_a_mask_is_named():
    """`find_files` leaves such out; whoever comes to it by another way is told."""
    with pytest.raises(InputError, match=r"^a\.png: an image of test without a mask; add the mask, or remove the"):
        _given(None, SourceFile("test", Path("a.png"), None))
