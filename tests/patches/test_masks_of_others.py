"""Masks of other tools: colours by a table, and COCO; what is read of them, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.patches.layouts import COLORS, SIDE, edit_json, make, painted, picture, run, save, stripes
from wsss_mm.errors import InputError
from wsss_mm.labelling.exchange.coco import picture_of_mask, write_coco
from wsss_mm.patches.coded import mask_reader
from wsss_mm.patches.finding import find
from wsss_mm.patches.images import read_image, read_label_map, read_mask
from wsss_mm.patches.importers import list_slides
from wsss_mm.slides.rle import mask_of, packed, run_lengths, unpacked
from wsss_mm.sources import SOURCES
from wsss_mm.sources.source import LabelsTable, Masks
from wsss_mm.vocabulary import IGNORE, get_vocabulary

LUNG, BREAST, GLANDS, COLON = map(get_vocabulary, ("lung", "breast", "glands", "colon"))


class TestColourTable:
    def test_a_colour_that_the_table_lacks_is_named(self, tmp_path):
        made = make(SOURCES["masks"], tmp_path / "set")
        path = made.folder / "train/masks/A.png"
        pixels = np.asarray(Image.open(path)).copy()
        pixels[0, 0] = (1, 2, 3)
        save(path, pixels)
        with pytest.raises(InputError, match=r"A\.png: colour 1 2 3 is nothing that .*codes\.csv names .*add it there"):
            run("masks", made.folder, LUNG)

    def test_a_palette_is_read_by_its_colours(self, tmp_path):
        made = make(SOURCES["masks"], tmp_path / "set")
        path = made.folder / "train/masks/A.png"
        Image.open(path).convert("P", palette=Image.Palette.ADAPTIVE, colors=8).save(path)
        frame, out = run("masks", made.folder, LUNG)
        mask = read_label_map(out / frame.filter(like="train_A", axis=0).iloc[0]["mask_path"])
        np.testing.assert_array_equal(mask, made.masks["train_A"])

    def test_hexadecimal_colours_and_values(self, tmp_path):
        made = make(SOURCES["masks"], tmp_path / "set")
        lines = [f"{item.code},#{bytes(color).hex()}" for item, color in zip(LUNG.classes, COLORS, strict=False)]
        (made.folder / "codes.csv").write_text("\n".join(["class,colour", *lines, "void,#ffffff"]) + "\n")
        assert len(run("masks", made.folder, LUNG)[0]) == 6
        (made.folder / "codes.csv").write_text("class,value\nTE,1\nNEC,2\nLYM,3\nTAS,4\n")
        with pytest.raises(InputError, match=r"a mask in colours, but .*codes\.csv has values alone"):
            run("masks", made.folder, LUNG)

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("label,r,g\nTE,1,2\n", "has the columns label, r, g; give label, and value or r, g and b"),
            ("label,r,g,b\nTE,1,2,300\n", r"line 2: '1 2 300' is no value of a mask"),
            ("label,value\nTE,1\nNEC,1\n", "line 3: 1 is 'TE' already"),
            ("label,value\nFAT,1\n", "label 'FAT' is no class of vocabulary 'lung'"),
        ],
    )
    def test_faults_of_the_table(self, tmp_path, text, says):
        made = make(SOURCES["masks"], tmp_path / "set")
        (made.folder / "codes.csv").write_text(text)
        with pytest.raises(InputError, match=says):
            run("masks", made.folder, LUNG)

    def test_pseudo_labels_of_another_tool_are_masks_of_training_patches(self, tmp_path, monkeypatch):
        made = make(SOURCES["luad_histoseg"], tmp_path / "set")
        monkeypatch.chdir(tmp_path)
        (tmp_path / "sources.yaml").write_text("luad_histoseg: {masks: {codes: codes.csv}}\n")
        lines = [f"{item.code},{r},{g},{b}" for item, (r, g, b) in zip(LUNG.classes, COLORS, strict=False)]
        (made.folder / "codes.csv").write_text("\n".join(["label,r,g,b", *lines, "ignore,255,255,255"]) + "\n")
        for path in sorted(made.folder.rglob("mask/*.png")):
            save(path, painted(stripes(4)))
        for path in sorted((made.folder / "training").glob("*.png")):
            save(made.folder / "training/mask" / path.name, painted(stripes(4)))
        frame, out = run("luad_histoseg", made.folder, LUNG)
        train = frame[frame["split"] == "train"]
        assert sorted(train[list(LUNG.codes)].sum(axis=1)) == [1, 1, 1, 1, 4]  # as the names say
        for path in train["mask_path"]:
            np.testing.assert_array_equal(read_label_map(out / path), stripes(4))

    @pytest.mark.parametrize("classes", [{}, {"TE": ("TE",), "LYM": ("LYM",)}], ids=["by name", "by classes"])
    def test_a_label_may_have_several_values(self, tmp_path, classes):
        path = save(tmp_path / "masks/a.png", np.repeat([[0, 7, 9, 9]], 4, axis=0))
        (tmp_path / "codes.csv").write_text("label,value\nTE,0\nLYM,9\nTE,7\n")
        reader = mask_reader(Masks(codes="codes.csv", classes=classes, others="ignore"), LUNG, tmp_path)
        np.testing.assert_array_equal(reader.read(path)[0], [0, 0, 2, 2])
        assert reader.shares(path) == {"TE": 0.5, "LYM": 0.5}

    def test_folders_for_masks_are_known_in_any_case(self, tmp_path):
        save(tmp_path / "images/a.png", picture(1))
        mask = save(tmp_path / "Truth/a.png", stripes(4))
        row = replace(SOURCES["masks"], masks=Masks(folders=("Truth",)))
        assert [file.mask for file in find(tmp_path, row, LUNG)] == [mask]

    @pytest.mark.parametrize("said", ["a", "a.png", "images/a.png"])
    def test_a_table_beside_pairs_names_images_as_it_likes(self, tmp_path, said):
        save(tmp_path / "images/a.png", picture(1))
        save(tmp_path / "masks/a.png", stripes(4))
        (tmp_path / "table.csv").write_text(f"path,labels,patient_id\n{said},TE,P7\n")
        row = replace(SOURCES["masks"], table=LabelsTable())
        assert [file.origin.patient_id for file in find(tmp_path, row, LUNG)] == ["P7"]

    def test_jpeg_keeps_no_values(self, tmp_path):
        made = make(SOURCES["masks"], tmp_path / "set")
        path = made.folder / "train/masks/A.png"
        Image.open(path).convert("RGB").save(path.with_suffix(".jpg"))
        path.unlink()
        with pytest.raises(InputError, match=r"A\.jpg: a mask as .*JPEG, which does not keep its values"):
            run("masks", made.folder, LUNG)


class TestCoco:
    def test_polygons_and_run_lengths(self, tmp_path):
        made = make(SOURCES["coco"], tmp_path / "coco")
        inside = np.zeros((SIDE, SIDE), bool)
        inside[100:150, 20:90] = True

        def change(content):
            category = content["categories"][0]["id"]
            image = content["images"][0]["id"]
            square = {
                "segmentation": [[0, 0, 50, 0, 50, 60, 0, 60]],
                "category_id": category,
                "image_id": image,
                "id": 1,
            }
            runs = {"size": [SIDE, SIDE], "counts": run_lengths([inside])}
            content["annotations"] = [square, square | {"segmentation": runs, "id": 2, "category_id": category + 2}]

        edit_json(made.folder / "test/_annotations.coco.json", change)
        frame, out = run("coco", made.folder, LUNG)
        mask = read_label_map(out / frame[frame["split"] == "test"].iloc[0]["mask_path"])
        wanted = np.full((SIDE, SIDE), IGNORE)
        wanted[:60, :50], wanted[inside] = 0, 2
        np.testing.assert_array_equal(mask, wanted)

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            (lambda c: c["categories"][0].update(name="Fat", code="F"), "category 'Fat', which is no class of vocab"),
            (lambda c: c["images"][0].update(file_name="gone.png"), "its image 'gone.png' is not there"),
            (lambda c: c["images"][0].update(width=223), "run lengths are not of the image's size|223 x 224"),
            (lambda c: c["annotations"][0].update(segmentation=[[1, 2, 3]]), "annotation 1: is no area"),
            (lambda c: c["annotations"][0].update(segmentation=[[0, 0, 9, 0, 9, float("nan")]]), "no numbers"),
            (lambda c: c["annotations"][0].update(category_id=[1]), "an id is neither a number nor a text"),
            (lambda c: c["annotations"][0].update(category_id=99), "annotation 1: its category is not in the file"),
            (lambda c: c["images"][0].update(width=10**9), "claims 1000000000 x 224 px"),
            (lambda c: c["images"].append(c["images"][0] | {"id": 99}), "is there twice"),
            (lambda c: c["images"].append(c["images"][0]), "have the same id"),
            (lambda c: c["categories"].append(c["categories"][0]), "have the same id"),
            (lambda c: c["annotations"][0].update(image_id="0"), "annotation 1: its image is not in the file"),
        ],
    )
    def test_faults(self, tmp_path, change, says):
        made = make(SOURCES["coco"], tmp_path / "coco")
        edit_json(made.folder / "test/_annotations.coco.json", change)
        with pytest.raises(InputError, match=says):
            run("coco", made.folder, LUNG)

    def test_a_json_or_table_that_a_link_brings_in_is_not_there(self, tmp_path):
        made = make(SOURCES["coco"], tmp_path / "coco")
        for path in sorted(made.folder.rglob("*.json")):
            path.symlink_to(path.rename(tmp_path / f"{path.parent.name}.json"))
        with pytest.raises(InputError, match=r"has no JSON of COCO"):
            list_slides("coco", made.folder, LUNG)
        made = make(SOURCES["masks"], tmp_path / "set")
        codes = made.folder / "codes.csv"
        codes.symlink_to(codes.rename(tmp_path / "codes.csv"))
        with pytest.raises(InputError, match=r"set: has no codes\.csv; write one beside images/"):
            run("masks", made.folder, LUNG)

    def test_splits_by_the_name_of_the_file(self, tmp_path):
        made = make(SOURCES["coco"], tmp_path / "coco")
        for split, year in (("train", "instances_train2017"), ("val", "instances_val2017"), ("test", "image_test")):
            (made.folder / "annotations").mkdir(exist_ok=True)
            (made.folder / split / "_annotations.coco.json").rename(made.folder / f"annotations/{year}.json")
            for path in sorted((made.folder / split).iterdir()):
                (made.folder / "all").mkdir(exist_ok=True)
                path.rename(made.folder / "all" / path.name)
        files = find(made.folder, SOURCES["coco"], LUNG)
        assert {file.image.name: file.split for file in files} == {
            **dict.fromkeys(["c0.png", "c1.png", "c2.png"], "train"),
            "c3.png": "valid",
            "c4.png": "test",
        }

    def test_masks_of_run_lengths_come_back(self):
        mask = np.random.default_rng(0).random((17, 23)) > 0.5
        counts = run_lengths([mask])
        np.testing.assert_array_equal(mask_of(unpacked(packed(counts)), 23, 17), mask)
        with pytest.raises(ValueError, match="no run lengths of 23 x 18"):
            mask_of(counts, 23, 18)


@pytest.mark.real_data
def test_real_masks_come_back_pixel_for_pixel_from_colours_and_from_coco(real_data, tmp_path):
    """Regions of WSSS4LUAD, written as other tools have them."""
    normal, source = get_vocabulary("luad_normal"), real_data / "wsss4luad"
    pictures: dict[str, list] = {"train": [], "test": []}
    truths = {}
    for split, folder in (("train", "valid"), ("test", "test")):  # a data set needs a training split
        for path in sorted((source / folder / "mask").glob("*.png")):
            mask = read_mask(path, 3, [3])
            image, name = source / folder / "img" / path.name, f"{split}_{path.stem}"
            if max(mask.shape) > SIDE:
                mask, pixels = mask[:SIDE, :SIDE], read_image(image)[:SIDE, :SIDE]
            else:
                pixels = read_image(image)
            if (mask == IGNORE).all() or min(mask.shape) < SIDE:
                continue
            truths[name] = mask
            for kind in ("masks", "coco"):
                save(tmp_path / kind / split / "images" / path.name, pixels)
            save(tmp_path / "masks" / split / "masks" / path.name, painted(mask))
            pictures[split].append(picture_of_mask(path.name, mask, normal))
        write_coco(tmp_path / "coco" / split / "areas.json", pictures[split], normal)
    lines = [f"{item.name},{r},{g},{b}" for item, (r, g, b) in zip(normal.classes, COLORS, strict=False)]
    (tmp_path / "masks/codes.csv").write_text("\n".join(["label,r,g,b", *lines, "ignore,255,255,255"]) + "\n")
    assert len(truths) > 10
    for kind in ("masks", "coco"):
        frame, out = run(kind, tmp_path / kind, normal, mpp=1.0)
        assert len(frame) == len(truths)
        found = {patch: read_label_map(out / path) for patch, path in frame["mask_path"].items()}
        for name, truth in truths.items():
            split, _, stem = name.partition("_")
            (patch,) = (item for item in found if item.startswith(split) and f"_{stem}-" in item)
            np.testing.assert_array_equal(found[patch], truth)
