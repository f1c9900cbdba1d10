"""Data sets as their authors publish them: what is read of each, and what is refused."""

import logging

import numpy as np
import pytest
from PIL import Image

from tests.patches.layouts import SIDE, make, picture, run, save, stripes
from wsss_mm.errors import InputError
from wsss_mm.patches.images import read_image, read_label_map
from wsss_mm.patches.importers import list_slides
from wsss_mm.sources import SOURCES
from wsss_mm.vocabulary import IGNORE, get_vocabulary

LUNG, BREAST, GLANDS, COLON = map(get_vocabulary, ("lung", "breast", "glands", "colon"))


class TestBcss:
    NAME = "TCGA-A1-A0SK-DX1_xmin45749_ymin25055_MPP-0.2500.png"

    def test_slide_patient_and_site_are_those_of_the_barcode_and_institutes_are_the_test_split(self, tmp_path):
        made = make(SOURCES["bcss_regions"], tmp_path / "BCSS")
        slides = list_slides("bcss_regions", made.folder).set_index("slide_id")
        assert slides.loc["TCGA-A1-A0S0-DX1", "patient_id"] == "TCGA-A1-A0S0"
        assert slides.groupby("split")["site"].unique().map(list).to_dict() == {"test": ["OL"], "train": ["A1"]}

    def test_codes_of_the_paper_are_counted_to_four_classes(self, tmp_path):
        made = make(SOURCES["bcss_regions"], tmp_path / "BCSS")
        mask = np.repeat(np.arange(SIDE) // 10, SIDE).reshape(SIDE, SIDE)  # 0 to 22: all codes, and 22, which is none
        save(made.folder / "masks" / self.NAME, np.minimum(mask, 21))
        save(made.folder / "rgbs_colorNormalized" / self.NAME, picture(1))
        frame, out = run("bcss_regions", made.folder, BREAST)
        row = frame.loc["TCGA-A1-A0SK-DX1_xmin45749_ymin25055_0_0"]
        found = read_label_map(out / row["mask_path"])[::10, 0][:22].tolist()
        wanted = {0: [1, 19, 20], 1: [2], 2: [3, 10, 11], 3: [4]}
        assert {code: [place for place, value in enumerate(found) if value == code] for code in wanted} == wanted
        assert found.count(IGNORE) == 14

    @pytest.mark.parametrize("kind", ["grey", "first channel", "16 bits"])
    def test_codes_in_three_channels_are_read(self, tmp_path, kind):
        made = make(SOURCES["bcss_regions"], tmp_path / "BCSS")
        path = made.folder / "masks/TCGA-A1-A0S0-DX1_xmin45749_ymin25055_MPP-0.2500.png"
        codes = np.asarray(Image.open(path))
        if kind == "16 bits":
            Image.fromarray(codes.astype(np.uint16)).save(path)
        else:
            empty = codes if kind == "grey" else np.zeros_like(codes)
            save(path, np.stack([codes, empty, empty], axis=-1))
        frame, out = run("bcss_regions", made.folder, BREAST)
        mask = read_label_map(out / frame.loc["TCGA-A1-A0S0-DX1_xmin45749_ymin25055_0_0", "mask_path"])
        np.testing.assert_array_equal(mask, made.masks["A0S0"])

    def test_its_own_file_of_codes_counts(self, tmp_path):
        made = make(SOURCES["bcss_regions"], tmp_path / "BCSS")
        path = made.folder / "meta/gtruth_codes.tsv"
        path.parent.mkdir()
        values = dict(SOURCES["bcss_regions"].masks.values) | {"tumor": 2, "stroma": 1}
        path.write_text("label\tGT_code\n" + "".join(f"{name}\t{value}\n" for name, value in values.items()))
        frame, out = run("bcss_regions", made.folder, BREAST)
        mask = read_label_map(out / frame.loc["TCGA-A1-A0S1-DX1_xmin45749_ymin25055_0_0", "mask_path"])
        assert (mask[made.masks["A0S1"] == 1] == 0).all()  # 2 is tumour there
        path.write_text("label\tGT_code\ntumor\t1\n")
        with pytest.raises(InputError, match=r"codes\.tsv: has no label 'angioinvasion', which .* counts to TUM"):
            run("bcss_regions", made.folder, BREAST)

    def test_a_mask_that_is_off_by_one_pixel_is_refused_with_the_sizes(self, tmp_path):
        made = make(SOURCES["bcss_regions"], tmp_path / "BCSS")
        path = made.folder / "masks/TCGA-A1-A0S0-DX1_xmin45749_ymin25055_MPP-0.2500.png"
        save(path, np.asarray(Image.open(path))[:, :-1])
        with pytest.raises(InputError, match=r"A0S0.*\.png: 223 x 224 px, but its image has 224 x 224 px"):
            run("bcss_regions", made.folder, BREAST)

    def test_regions_are_cut_by_the_grid_with_labels_of_their_masks(self, tmp_path):
        made = make(SOURCES["bcss_regions"], tmp_path / "BCSS")
        mask = np.full((300, 500), 2)
        mask[:, 250:] = 1
        save(made.folder / "masks" / self.NAME, mask)
        save(made.folder / "rgbs_colorNormalized" / self.NAME, np.full((300, 500, 3), (170, 90, 150)))
        frame, _ = run("bcss_regions", made.folder, BREAST)
        tiles = frame[frame["slide_id"] == "TCGA-A1-A0SK-DX1"]
        places = ["0_0", "0_76", "224_0", "224_76", "276_0", "276_76"]
        assert [name.partition("ymin25055_")[2] for name in tiles.index] == places
        assert [tiles.iloc[place][["TUM", "STR"]].tolist() for place in (0, 2, 4)] == [
            [False, True],
            [True, True],
            [True, False],
        ]


class TestGlas:
    def test_objects_are_of_the_grade_of_their_image(self, tmp_path):
        made = make(SOURCES["glas"], tmp_path / "glas")
        frame, out = run("glas", made.folder, GLANDS)
        benign, malignant = (read_label_map(out / frame.loc[f"train_{n}-0-0", "mask_path"]) for n in (0, 1))
        assert (set(np.unique(benign)), set(np.unique(malignant))) == ({0, 2}, {1, 2})
        assert frame["split"].value_counts()["test"] == 2

    def test_patients_that_the_published_splits_share_are_told(self, tmp_path, caplog):
        made = make(SOURCES["glas"], tmp_path / "glas")
        table = made.folder / "Grade.csv"
        table.write_text(table.read_text().replace("testA_4,4,", "testA_4,0,"))
        with caplog.at_level(logging.WARNING):
            slides = list_slides("glas", made.folder).set_index("slide_id")
        assert "1 patients, such as 0, are in more than one split, as published: figures of test are too" in caplog.text
        assert slides.loc[["train_0", "testA_4"], "patient_id"].tolist() == ["0-train", "0-test"]

    def test_an_image_without_a_grade_is_named(self, tmp_path):
        made = make(SOURCES["glas"], tmp_path / "glas")
        table = made.folder / "Grade.csv"
        table.write_text(table.read_text().replace("train_0,0, benign", "train_0,0, benign;malignant"))
        with pytest.raises(InputError, match=r"Grade\.csv: line 2: 'benign;malignant' is not one class"):
            list_slides("glas", made.folder)
        table.write_text("\n".join(table.read_text().splitlines()[:1] + table.read_text().splitlines()[2:]) + "\n")
        with pytest.raises(InputError, match=r"train_0\.bmp: the table of the data set has no row of it"):
            list_slides("glas", made.folder)


class TestFolders:
    def test_names_of_the_published_files(self):
        kather = SOURCES["kather2016"].origin("17E8F_CRC-Prim-HE-02_007.tif_Row_151_Col_301", "train")
        assert kather is not None
        assert (kather.slide_id, kather.patch_id) == (
            "CRC-Prim-HE-02",
            "CRC-Prim-HE-02_17E8F__007_Row_151_Col_301",
        )
        crc = SOURCES["nct_crc"].origin("ADI-TCGA-AAICEQFN", "test")
        assert crc is not None
        assert crc.patient_id == crc.patch_id == "ADI-TCGA-AAICEQFN"

    def test_a_folder_of_no_class_is_named(self, tmp_path):
        made = make(SOURCES["folders"], tmp_path / "tiles")
        save(made.folder / "train/Cartilage/a.png", picture(1))
        with pytest.raises(InputError, match=r"its folder 'Cartilage' is no class of vocabulary 'lung' \(TE, NEC"):
            list_slides("folders", made.folder, LUNG)

    def test_no_test_split_and_no_masks_are_said(self, tmp_path, caplog):
        made = make(SOURCES["folders"], tmp_path / "tiles")
        for path in sorted((made.folder / "test").rglob("*.png")):
            path.unlink()
        with caplog.at_level(logging.WARNING):
            frame, _ = run("folders", made.folder, LUNG)
        assert set(frame["split"]) == {"train", "valid"}
        assert "has no test split" in caplog.text
        assert "no image has a mask: label sets can be judged, pixels cannot" in caplog.text


class TestTable:
    def test_columns_say_slide_patient_site_and_mask(self, tmp_path):
        folder = tmp_path / "tiles"
        for number in range(4):
            save(folder / f"t{number}.png", picture(number))
        save(folder / "m.png", np.where(stripes(4) == IGNORE, 0, stripes(4)))
        (folder / "labels.csv").write_text(
            "Path;Labels;Split;Slide ID;Patient ID;Site;Mask\n"
            "t0.png;TE;train;S1;P1;Ghent;\nt1.png;tumour, LYM;train;S2;P2;Oslo;\n"
            "t2.png;;test;S3;P3;Oslo;m.png\nt3.png;NEC;val;S4;P4;Oslo;\n"
        )
        frame, _ = run("table", folder, LUNG)
        frame = frame.set_index("slide_id")
        assert frame.loc["S2", list(LUNG.codes)].tolist() == [True, False, True, False]
        assert frame.loc["S3", list(LUNG.codes)].tolist() == [True] * 4  # as its mask says
        assert frame.loc["S4", ["split", "patient_id", "site"]].tolist() == ["valid", "P4", "Oslo"]

    @pytest.mark.parametrize(
        ("row", "says"),
        [
            ("t0.png,TE", r"line 3: 't0\.png' is on line 2 already"),
            ("gone.png,TE", r"line 3: 'gone\.png' is no file in"),
            ("../t0.png,TE", r"line 3: '\.\./t0\.png' is no file in"),
            ("t1.png,FAT", r"line 3: 'FAT' is no class of vocabulary 'lung'"),
        ],
    )
    def test_faults_name_the_line(self, tmp_path, row, says):
        folder = tmp_path / "tiles"
        for number in range(2):
            save(folder / f"t{number}.png", picture(number))
        save(tmp_path / "t0.png", picture(1))
        (folder / "labels.csv").write_text(f"path,labels\nt0.png,TE\n{row}\n")
        with pytest.raises(InputError, match=says):
            list_slides("table", folder, LUNG)

    def test_images_of_other_sizes(self, tmp_path):
        """Of one class, all of an image is that class; of several, its middle stands for it."""
        folder = tmp_path / "tiles"
        wide = np.zeros((SIDE, 2 * SIDE, 3))
        wide[:, SIDE // 2 : SIDE // 2 + SIDE] = 200
        save(folder / "a.png", np.full((SIDE, 2 * SIDE, 3), 90))
        save(folder / "b.png", wide)
        save(folder / "c.png", picture(1, 100))
        (folder / "labels.csv").write_text("path,labels\na.png,TE\nb.png,TE;LYM\nc.png,NEC\n")
        frame, out = run("table", folder, LUNG)
        assert sorted(frame.index) == ["a-0-0", "a-224-0", "b-0-0", "c-0-0"]
        assert (read_image(out / frame.loc["b-0-0", "path"]) == 200).all()
        assert frame.loc["a-224-0", list(LUNG.codes)].tolist() == [True, False, False, False]
        assert read_image(out / frame.loc["c-0-0", "path"]).shape == (SIDE, SIDE, 3)


class TestPublishedWsss4luad:
    def test_numbered_folders_and_patches_of_any_size(self, tmp_path):
        source = tmp_path / "WSSS4LUAD"
        save(source / "1.training" / "436219-7159-48057-[1, 0, 0].png", picture(1, 200))
        save(source / "1.training" / "1.2.276.0.72-38208-17984-[0, 1, 1].png", picture(2, 150))
        save(source / "1.training" / "1031280-10-20-[0, 0, 1].png", picture(3, 90))
        for split, number in (("2.validation", "00"), ("3.testing", "01")):
            save(source / split / "img" / f"{number}.png", picture(4))
            save(source / split / "mask" / f"{number}.png", np.ones((SIDE, SIDE)))
            save(source / split / "background-mask" / f"{number}.png", np.zeros((SIDE, SIDE)))
        frame, _ = run("wsss4luad", source, get_vocabulary("luad_normal"), size=112)
        train = frame[frame["split"] == "train"]
        assert len(train) == 4 + 1 + 1
        assert set(train["size"]) == {112}
        assert frame["split"].value_counts()[["valid", "test"]].tolist() == [1, 1]
