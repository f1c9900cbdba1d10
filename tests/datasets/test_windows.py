import numpy as np
import pandas as pd
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from wsss_mm.datasets import PseudoLabelDataset, SeededSampler
from wsss_mm.datasets.windows import compose, mosaic, window_corner
from wsss_mm.patches import IGNORE, VOCABULARIES, read_manifest, write_manifest
from wsss_mm.patches.neighbours import Places

SIDE, STEP = 48, 24  # px


class Bare:
    """Packs nothing: what the transforms before it made."""

    def __call__(self, results):
        return results["img"], results["gt_seg_map"]


AUGMENT = [
    {"type": "wsss_mm.FlipAndRotate", "rotate": True},
    {"type": "wsss_mm.RandomDeformation", "scale": (0.8, 1.2), "elastic": 2.0},
    {"type": "wsss_mm.RandomCrop", "size": 64},
    {"type": "wsss_mm.StainJitter", "strength": 0.3},
    Bare(),
]


@pytest.fixture
def slide() -> np.ndarray:
    """A slide whose pixels say where they are and of which class: red counts columns, green rows, blue is the class."""
    y, x = np.mgrid[:120, :144]
    return np.stack([x, y, (x // 7 + y // 5) % 4], axis=2).astype(np.uint8)


@pytest.fixture
def overlapping(tmp_path, slide):
    """Training patches that overlap by half, one place left out, with their true classes as pseudo-labels."""
    root, pseudo = tmp_path / "patches", tmp_path / "pseudo"
    (root / "images").mkdir(parents=True)
    (pseudo / "labels").mkdir(parents=True)
    rows = []
    for y in range(0, 120 - SIDE + 1, STEP):
        for x in range(0, 144 - SIDE + 1, STEP):
            if (x, y) == (0, 0):
                continue
            patch = slide[y : y + SIDE, x : x + SIDE]
            name = f"{x}-{y}"
            Image.fromarray(patch).save(root / "images" / f"{name}.png")
            Image.fromarray(np.ascontiguousarray(patch[..., 2])).save(pseudo / "labels" / f"{name}.png")
            row = {"patch_id": name, "slide_id": "s", "patient_id": "p", "split": "train", "x": x, "y": y, "mpp": 1.0}
            row |= {"size": SIDE, "path": f"images/{name}.png", "mask_path": None, "sha256": "0", "tissue": 1.0}
            rows.append(row | dict.fromkeys(VOCABULARIES["lung"].codes, True))
    write_manifest(pd.DataFrame(rows), root)
    frame = pd.DataFrame({"patch_id": [row["patch_id"] for row in rows]})
    frame.assign(path="labels/" + frame["patch_id"] + ".png").to_parquet(pseudo / "manifest.parquet")
    return root


def dataset(root, pipeline=AUGMENT, **options) -> PseudoLabelDataset:
    return PseudoLabelDataset(
        str(root), "lung", "train", pipeline, pseudo_labels=str(root.parent / "pseudo"), **options
    )


class TestWindows:
    def test_pixels_are_those_of_the_slide_and_keep_their_labels(self, overlapping, slide):
        found = dataset(overlapping, [Bare()], window=64)
        for draw in range(40):
            image, labels = found[draw % len(found), draw]
            known = labels != IGNORE
            x, y = image[known][:, 0], image[known][:, 1]
            np.testing.assert_array_equal(image[known], slide[y, x])
            np.testing.assert_array_equal(labels[known], image[known][:, 2])
            assert (image[~known] == 255).all()
            assert np.unique(x.astype(int) - np.nonzero(known)[1]).size == 1  # one shift: nothing is out of place

    def test_only_places_without_a_patch_are_empty(self, overlapping):
        found = dataset(overlapping, [Bare()], window=64)
        shares = [(found[index, draw][1] == IGNORE).mean() for index in range(len(found)) for draw in range(3)]
        assert 0 < max(shares) <= (STEP / 64) ** 2  # the corner that only the absent patch holds

    def test_the_patch_is_in_its_window(self, overlapping):
        places = Places.of(read_manifest(overlapping, VOCABULARIES["lung"]))
        rng = np.random.default_rng(0)
        for index in range(len(places)):
            corner = window_corner(places, index, 64, rng)
            middle = places.corners[index] + SIDE // 2
            assert ((corner <= middle) & (middle < corner + 64)).all()

    def test_a_window_larger_than_the_slide_holds_all_of_it(self, overlapping):
        places = Places.of(read_manifest(overlapping, VOCABULARIES["lung"]))
        for seed in range(5):
            corner = window_corner(places, 0, 200, np.random.default_rng(seed))
            assert (corner <= 0).all()
            assert (corner + 200 >= [144, 120]).all()

    def test_a_label_is_not_overwritten_by_ignore(self):
        places = Places.of(pd.DataFrame({"slide_id": ["s", "s"], "x": [0, 2], "y": [0, 0], "size": [4, 4]}))
        labels = [np.full((4, 4), 1, np.uint8), np.full((4, 4), IGNORE, np.uint8)]
        records = [{"img": np.full((4, 4, 3), i, np.uint8), "gt_seg_map": item} for i, item in enumerate(labels)]
        for drawn in (0, 1):
            image, found = compose(places, drawn, np.array([0, 0]), 6, records.__getitem__)
            assert (found[:4, :4] == 1).all()
            assert (found[:4, 4:] == IGNORE).all()
            assert (image[:4, 2:4, 0] == drawn).all()  # where patches differ, the patch that was drawn counts


class TestMosaic:
    def test_each_quarter_is_one_samples_own(self):
        parts = [
            {"img": np.full((40, 40, 3), i, np.uint8), "gt_seg_map": np.full((40, 40), i, np.uint8), "patch_id": i}
            for i in range(4)
        ]
        for seed in range(20):
            found = mosaic(parts, np.random.default_rng(seed))
            labels = found["gt_seg_map"]
            np.testing.assert_array_equal(found["img"], np.repeat(labels[..., None], 3, axis=2))
            row, column = (labels[:, 0] == 0).sum(), (labels[0] == 0).sum()
            assert 10 <= row <= 30
            assert 10 <= column <= 30
            quarters = [labels[:row, :column], labels[:row, column:], labels[row:, :column], labels[row:, column:]]
            assert all((quarter == index).all() for index, quarter in enumerate(quarters))
            assert found["patch_id"] == 0
        assert (parts[0]["gt_seg_map"] == 0).all()

    def test_pixels_keep_their_labels(self, overlapping):
        flips = [{"type": "wsss_mm.FlipAndRotate", "rotate": True}, Bare()]
        found = dataset(overlapping, flips, window=64, mosaic=1.0)
        for draw in range(20):
            image, labels = found[draw % len(found), draw]
            known = labels != IGNORE
            np.testing.assert_array_equal(labels[known], image[known][:, 2])

    def test_the_share_is_met(self, overlapping):
        """In a slide whose columns are counted, a mosaic has a step that is none of a column."""
        found = dataset(overlapping, [Bare()], mosaic=0.3)
        steps = [np.diff(found[draw % len(found), draw][0][0, :, 0].astype(int)) for draw in range(300)]
        assert np.mean([(step != 1).any() for step in steps]) == pytest.approx(0.3, abs=0.08)

    @pytest.mark.parametrize("workers", [0, 2])
    @pytest.mark.parametrize("cache_bytes", [0, 1 << 30])
    def test_keyed_by_seed_and_draw_alone(self, overlapping, workers, cache_bytes):
        options = {"window": 64, "mosaic": 0.5, "seed": 5}
        made = dataset(overlapping, cache_bytes=cache_bytes, **options)
        loader = DataLoader(made, 3, sampler=SeededSampler(made, 5), num_workers=workers, collate_fn=list)
        batches = iter(loader)
        found = [item for _ in range(4) for item in next(batches)]
        draws = iter(SeededSampler(made, 5))
        keys = [next(draws) for _ in range(12)]
        fresh = dataset(overlapping, **options)
        for key, (image, labels) in list(zip(keys, found, strict=True))[::-1]:
            again = fresh[key]
            np.testing.assert_array_equal(again[0], image)
            np.testing.assert_array_equal(again[1], labels)

    def test_none_leaves_samples_as_they_were(self, overlapping):
        """Off by default, and then not a random number is drawn for it."""
        plain = dataset(overlapping, seed=3)
        same = dataset(overlapping, seed=3, window=0, mosaic=0.0)
        for draw in range(5):
            np.testing.assert_array_equal(plain[draw, draw][0], same[draw, draw][0])
