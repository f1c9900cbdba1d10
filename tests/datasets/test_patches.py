import numpy as np
import pandas as pd
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from wsss_mm.datasets import PatchLabelDataset, PseudoLabelDataset, SeededSampler
from wsss_mm.errors import InputError
from wsss_mm.patches import VOCABULARIES, read_manifest, write_manifest

AUGMENT = [
    {"type": "wsss_mm.FlipAndRotate", "rotate": True},
    {"type": "wsss_mm.RandomDeformation", "scale": (0.8, 1.2), "elastic": 2.0},
    {"type": "wsss_mm.StainJitter", "strength": 0.3},
]
LABELS = [*AUGMENT, {"type": "wsss_mm.PackPatch"}]
PIXELS = [*AUGMENT, {"type": "wsss_mm.RandomCrop", "size": 32}]


def weak(patches, **kwargs):
    return PseudoLabelDataset(
        str(patches), "lung", "train", PIXELS, pseudo_labels=str(patches.parent / "pseudo"), **kwargs
    )


class TestPatchLabelDataset:
    def test_images_and_labels_of_the_manifest(self, patches):
        dataset = PatchLabelDataset(str(patches), "lung", "train", [{"type": "wsss_mm.PackPatch"}])
        frame = read_manifest(patches, VOCABULARIES["lung"]).query("split == 'train'")
        assert len(dataset) == len(frame) == 8
        for index, row in enumerate(frame.itertuples()):
            item = dataset[index]
            sample = item["data_samples"]
            assert sample.patch_id == row.patch_id
            assert sample.label.tolist() == [float(getattr(row, code)) for code in VOCABULARIES["lung"].codes]
            expected = np.asarray(Image.open(patches / row.path)).transpose(2, 0, 1)
            np.testing.assert_array_equal(item["inputs"].numpy(), expected)

    def test_weak_training_never_sees_a_mask(self, patches):
        for dataset in (PatchLabelDataset(str(patches), "lung", "train"), weak(patches)):
            text = str(dataset.records)
            assert "mask" not in text
            assert all("masks" not in str(value) for value in dataset.decoded(0).values())

    def test_masks_may_be_gone(self, patches):
        for path in (patches / "masks").rglob("*.png"):
            path.unlink()
        assert len(list(map(PatchLabelDataset(str(patches), "lung", "train").decoded, range(8)))) == 8
        assert len(list(map(weak(patches).decoded, range(6)))) == 6

    def test_what_nobody_is_sure_of_is_masked(self, patches):
        codes = VOCABULARIES["lung"].codes
        frame = read_manifest(patches, VOCABULARIES["lung"])
        known = [sample["data_samples"].known for sample in PatchLabelDataset(str(patches), "lung", "train", LABELS)]
        assert all(mask.tolist() == [True] * 4 for mask in known)
        frame.loc[2, list(codes)] = [True, False, False, True]
        frame.loc[2, "unsure"] = "NEC;LYM"
        write_manifest(frame, patches)
        sample = PatchLabelDataset(str(patches), "lung", "train", LABELS)[2]["data_samples"]
        assert sample.known.tolist() == [True, False, False, True]
        assert sample.label.tolist() == [1, 0, 0, 1]

    def test_an_empty_split_is_an_input_error(self, patches):
        with pytest.raises(InputError, match="no patch in split 'test'"):
            PatchLabelDataset(str(patches), "lung", "test")


class TestPseudoLabelDataset:
    def test_pseudo_labels_are_joined_by_patch_id(self, patches):
        dataset = weak(patches)
        assert [record["patch_id"] for record in dataset.records] == [f"train-{i:02d}" for i in range(6)]
        for index, record in enumerate(dataset.records):
            expected = np.asarray(Image.open(patches.parent / "pseudo" / "labels" / f"{record['patch_id']}.png"))
            np.testing.assert_array_equal(dataset.decoded(index)["gt_seg_map"], expected)

    def test_masks_when_asked_for(self, patches):
        dataset = PseudoLabelDataset(str(patches), "lung", "valid", target="masks")
        assert len(dataset) == 4
        expected = np.asarray(Image.open(patches / "masks" / "valid" / "valid-08.png"))
        np.testing.assert_array_equal(dataset.decoded(0)["gt_seg_map"], expected)

    @pytest.mark.parametrize(
        ("row", "says"),
        [
            ({"patch_id": "a", "path": "../a.png"}, r"path '\.\./a\.png' leads outside its folder"),
            ({"patch_id": ["a"], "path": "a.png"}, "patch_id .* is no text"),
        ],
    )
    def test_a_bad_row_is_named(self, patches, row, says):
        pd.DataFrame([row]).to_parquet(patches.parent / "pseudo" / "manifest.parquet")
        with pytest.raises(InputError, match=rf"manifest\.parquet: {says}[^\n]*make it again"):
            weak(patches)

    @pytest.mark.parametrize("fault", ["value", "size", "missing"])
    def test_a_bad_label_map_is_named(self, patches, fault):
        path = patches.parent / "pseudo" / "labels" / "train-02.png"
        if fault == "missing":
            path.unlink()
        else:
            Image.fromarray(
                np.full((48, 48) if fault == "value" else (8, 8), 7 if fault == "value" else 0, np.uint8)
            ).save(path)
        with pytest.raises(InputError, match=r"train-02\.png: [^\n]+$"):
            weak(patches).decoded(2)


class TestKeyedRandomness:
    @pytest.mark.parametrize("workers", [0, 2])
    @pytest.mark.parametrize("cache_bytes", [0, 1 << 30])
    def test_neither_workers_nor_cache_nor_order_matter(self, patches, workers, cache_bytes):
        dataset = PatchLabelDataset(str(patches), "lung", "train", LABELS, seed=5, cache_bytes=cache_bytes)
        loader = DataLoader(dataset, 3, sampler=SeededSampler(dataset, 5), num_workers=workers, collate_fn=list)
        batches = iter(loader)
        found = [item["inputs"] for _ in range(4) for item in next(batches)]
        draws = iter(SeededSampler(dataset, 5))
        keys = [next(draws) for _ in range(12)]
        np.random.seed(99)  # noqa: NPY002  what ran before does not matter
        for key, image in list(zip(keys, found, strict=True))[::-1]:
            assert (dataset[key]["inputs"] == image).all()

    def test_draws_and_seeds_differ(self, patches):
        dataset, other = (PatchLabelDataset(str(patches), "lung", "train", LABELS, seed=s) for s in (5, 6))
        assert (dataset[0, 0]["inputs"] != dataset[0, 1]["inputs"]).any()
        assert (dataset[0, 0]["inputs"] != other[0, 0]["inputs"]).any()

    def test_cached_images_are_not_changed(self, patches):
        dataset = weak(patches)
        before = [dataset.decoded(i)["img"].copy() for i in range(6)]
        for draw in range(30):
            dataset[draw % 6, draw]
        for i, image in enumerate(before):
            np.testing.assert_array_equal(dataset.decoded(i)["img"], image)

    def test_transforms_of_mmcv_are_keyed_too(self, patches):
        class Legacy:
            def __call__(self, results):
                return np.random.rand()  # noqa: NPY002

        dataset = PatchLabelDataset(str(patches), "lung", "train", [Legacy()])
        np.random.seed(1)  # noqa: NPY002
        state = np.random.get_state()[1].copy()  # noqa: NPY002
        first = [dataset[0, draw] for draw in range(3)]
        assert (np.random.get_state()[1] == state).all()  # noqa: NPY002
        assert first == [dataset[0, draw] for draw in range(3)]
        assert len(set(first)) == 3


class TestSeededSampler:
    def test_each_pass_holds_every_index_once(self):
        stream = iter(SeededSampler(range(7), 3))
        passes = [[next(stream) for _ in range(7)] for _ in range(3)]
        assert all(sorted(index for index, _ in one) == list(range(7)) for one in passes)
        assert len({tuple(index for index, _ in one) for one in passes}) == 3
        assert [draw for one in passes for _, draw in one] == list(range(21))

    @pytest.mark.parametrize("start", [0, 1, 6, 7, 17])
    def test_skip_continues_the_same_stream(self, start):
        stream = iter(SeededSampler(range(7), 3))
        whole = [next(stream) for _ in range(30)]
        sampler = SeededSampler(range(7), 3)
        sampler.skip(start)
        resumed = iter(sampler)
        assert [next(resumed) for _ in range(30 - start)] == whole[start:]
