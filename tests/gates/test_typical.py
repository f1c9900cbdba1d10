"""What is odd beside the others: clean cohorts raise nothing, however spread they are; odd ones are told of."""

import re

import cv2
import numpy as np
import pandas as pd
import pytest

from tests.gates.injection import inside
from tests.gates.project import LUNG, set_params, write_slide
from tests.settings import content_of
from wsss_mm.cohort import Cohort
from wsss_mm.files import write_json
from wsss_mm.gates import report_path, run_gate
from wsss_mm.gates.page import render_page
from wsss_mm.gates.typical import above_others, judge
from wsss_mm.patches import write_manifest
from wsss_mm.patches.appearance import DENSITY, STATISTICS, image_statistics, unmixing
from wsss_mm.patches.cutting import cut_rows
from wsss_mm.patches.images import store_patch
from wsss_mm.settings import Params
from wsss_mm.slides.phantom.cohort import generate_slide
from wsss_mm.slides.table import write_slide_table

pytestmark = pytest.mark.xdist_group("great_expectations")  # 3 to 10 s of import: once

SHIPPED = Params.model_validate(content_of("phantom")).gates


def patches(slides: int, each: int, seed: int = 0, tails=None, **columns) -> pd.DataFrame:
    """Rows of patches whose logarithms are spread by `tails`, a tenth and more."""
    rng = np.random.default_rng(seed)
    tails = tails or (lambda rng, count: rng.normal(0, 0.2, count))
    count = slides * each
    return pd.DataFrame(
        {
            "patch_id": [f"p{row}" for row in range(count)],
            "slide_id": np.repeat([f"s{slide}" for slide in range(slides)], each),
            "site": "",
            "focus": 600 * np.exp(2 * tails(rng, count)),
            "brightness": 256 * 10 ** (-0.25 * np.exp(tails(rng, count) / 4)) - 1,
            "haematoxylin": 0.3 * np.exp(tails(rng, count)),
            "eosin": 0.3 * np.exp(tails(rng, count)),
        }
        | columns
    )


def odd(rows: pd.DataFrame, limits=SHIPPED.patches, index: str = "patch_id") -> dict[str, str]:
    """What is odd, by row."""
    said = judge(rows, index, limits, STATISTICS if index == "patch_id" else STATISTICS[:1] + STATISTICS[2:]).said
    return {
        name: "; ".join(text for text in texts if text != "none")
        for name, *texts in zip(rows[index], *(said[column] for column in said), strict=True)
        if any(text != "none" for text in texts)
    }


class TestClean:
    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.parametrize(
        "tails",
        [
            lambda rng, count: rng.normal(0, 0.05, count),
            lambda rng, count: rng.normal(0, 0.4, count),
            lambda rng, count: rng.laplace(0, 0.15, count),
            lambda rng, count: 0.1 * rng.standard_t(3, count),
            lambda rng, count: rng.exponential(0.3, count),
            lambda rng, count: -rng.exponential(0.3, count),
        ],
        ids=["narrow", "wide", "laplace", "t3", "skewed up", "skewed down"],
    )
    def test_tails_are_no_faults(self, tails, seed):
        """Of patches a share is let pass, of slides, which differ less, none."""
        rows = patches(25, 40, seed, tails)
        said = judge(rows, "patch_id", SHIPPED.patches, STATISTICS).said
        assert ((said != "none").mean() <= SHIPPED.patches.max_odd_share).all()
        slides = patches(60, 1, seed, lambda rng, count: tails(rng, count) / 4).assign(slide_id=lambda t: t["patch_id"])
        assert odd(slides, SHIPPED.cohort, "slide_id") == {}

    @pytest.mark.parametrize("share", [1 / 3, 1 / 2, 2 / 3])
    def test_nor_is_the_other_scanner_of_half_of_the_slides(self, share):
        rows = patches(24, 10, tails=lambda rng, count: rng.normal(0, 0.05, count))
        other = rows["slide_id"].isin([f"s{slide}" for slide in range(round(24 * share))])
        rows["focus"] *= np.where(other, 12, 1)
        for stain in ("haematoxylin", "eosin"):
            rows[stain] *= np.where(other, 3.5, 1)
        assert odd(rows) == {}
        rows.loc[0, "focus"], rows.loc[239, "eosin"] = 20, 0.05
        assert set(odd(rows.assign(site=np.where(other, "A", "B")))) == {"p0", "p239"}

    def test_a_pale_cohort_and_a_deep_one_are_typical_of_themselves(self):
        for factor in (0.2, 3):
            rows = patches(20, 10)
            assert odd(rows.assign(eosin=rows["eosin"] * factor, haematoxylin=rows["haematoxylin"] * factor)) == {}

    def test_no_patch_has_tissue(self):
        rows = patches(8, 2).assign(**dict.fromkeys(STATISTICS, np.nan))
        judged = judge(rows, "patch_id", SHIPPED.patches, STATISTICS)
        assert judged.said.isna().all(axis=None)
        (group,) = judged.groups.to_dict("records")
        assert group == {"group": "all slides", "slides": 8, **dict.fromkeys(STATISTICS, "nothing measured")}

    def test_there_is_no_patch(self):
        assert judge(patches(8, 2)[:0], "patch_id", SHIPPED.patches, STATISTICS).groups.empty


class TestOdd:
    def test_it_is_told_beside_what_is_typical(self):
        rows = patches(10, 10)
        rows.loc[7, "eosin"] = 0.03
        (said,) = odd(rows).values()
        found = re.fullmatch(r"eosin 0\.03, below ([\d.]+); typical here ([\d.]+), from ([\d.]+) to ([\d.]+)", said)
        assert found, said
        least, middle, low, high = (float(number) for number in found.groups())
        assert middle == pytest.approx(rows["eosin"].median(), abs=0.01)
        assert least == pytest.approx(middle / 3, abs=0.01)
        assert [low, high] == pytest.approx([0.3 * np.exp(-0.33), 0.3 * np.exp(0.33)], rel=0.1)

    def test_a_typical_one_of_the_same_site_is_named(self):
        rows = patches(20, 10, site=np.repeat(["A", "B"], 100))
        rows.loc[100:, ["eosin"]] *= 3.5
        rows["eosin"] = rows["eosin"] ** 0.5 * np.where(rows.index < 100, 0.3, 0.3 * 3.5) ** 0.5  # narrower
        rows.loc[7, "eosin"] = rows["eosin"][107]
        judged = judge(rows, "patch_id", SHIPPED.patches, STATISTICS)
        assert "typical of site A 0." in judged.said["odd_eosin"][7]
        assert judged.said["odd_eosin"].ne("none").sum() == 1
        like = judged.like["odd_eosin"][7]
        assert rows.set_index("patch_id")["site"][like] == "A"
        assert rows.set_index("patch_id")["eosin"][like] == pytest.approx(0.3, rel=0.1)
        assert judged.groups["group"].tolist() == ["site A", "site B"]
        assert judged.groups["slides"].tolist() == [10, 10]

    def test_a_site_with_few_slides_is_judged_by_all(self):
        rows = patches(20, 10, site=np.repeat(["A", "B"], [180, 20]))
        rows.loc[190, "focus"] = 15
        (said,) = odd(rows).values()
        assert "typical here 6" in said

    def test_three_slides_are_too_few_and_it_is_said(self):
        rows = patches(3, 1).assign(slide_id=["a", "b", "c"], focus=[600, 700, 5], eosin=[0.04, 0.4, 0.4])
        assert odd(rows, SHIPPED.cohort, "slide_id") == {
            "c": "focus 5, below 10; 3 slides are too few to say what is typical"
        }
        groups = judge(rows, "slide_id", SHIPPED.cohort, ("focus", "eosin")).groups
        assert groups.to_dict("records") == [
            {"group": "all slides", "slides": 3, **dict.fromkeys(("focus", "eosin"), "8 slides or more would tell")}
        ]

    def test_a_slide_with_many_patches_outvotes_no_other(self):
        """Of one slide that is all out of focus there are more patches than of all others."""
        rows = pd.concat([patches(10, 10), patches(1, 300, seed=1).assign(slide_id="s99")], ignore_index=True)
        rows["patch_id"] = [f"p{row}" for row in rows.index]
        rows.loc[rows["slide_id"] == "s99", "focus"] /= 60
        assert len(odd(rows)) > 280

    def test_a_fifth_of_the_patches_may_be_blurred_and_is_found(self):
        rows = patches(20, 10)
        rows.loc[::5, "focus"] /= 100
        assert set(odd(rows)) == set(rows["patch_id"][::5])


class TestPen:
    @pytest.mark.parametrize(
        ("shares", "found"),
        [
            ((0.0, 0.0, 0.0, 0.12), {"s3": "pen 12%, above 10%; the others have 0%"}),
            ((0.3, 0.35, 0.28, 0.32), {}),  # a cohort that is marked throughout
            ((0.3, 0.35, 0.28, 0.6, np.nan), {"s3": "pen 60%, above 40%; the others have 30%"}),
            ((0.0, 0.2), {"s1": "pen 20%, above 10%; the others have 0%"}),
            ((0.2,), {"s0": "pen 20%, above 10%; there is no other slide"}),
            ((), {}),
        ],
    )
    def test_a_slide_with_much_more_than_the_others_is_told(self, shares, found):
        rows = pd.DataFrame({"slide_id": [f"s{row}" for row in range(len(shares))], "pen": [*shares]})
        said, like = above_others(rows, "slide_id", "pen", SHIPPED.cohort.max_more_pen)
        odd_ones = said.notna() & (said != "none")
        assert dict(zip(rows["slide_id"][odd_ones], said[odd_ones], strict=True)) == found
        assert all(other is None or other != name for name, other in zip(rows["slide_id"], like, strict=True))
        assert [text is None for text in said] == [not np.isfinite(share) for share in shares]


def scanned(image: np.ndarray, stain: float, sharpness: float, light: float) -> np.ndarray:
    """A picture as another scanner has it: more or less stain, blurred (below 0) or sharpened, under another light."""
    mixing = np.linalg.inv(unmixing())
    density = cv2.LUT(image, DENSITY) @ unmixing() * (stain, stain, 1) @ mixing
    picture = np.clip(256 * 10**-density - 1, 0, 255).astype(np.float32)
    blurred = cv2.GaussianBlur(picture, (0, 0), 1.0)
    picture = blurred if sharpness < 0 else picture + sharpness * (picture - blurred)
    return np.clip(picture * light, 0, 255).astype(np.uint8)


def restained(image: np.ndarray, times: tuple[float, float]) -> np.ndarray:
    """A picture with so many times its haematoxylin and eosin."""
    density = cv2.LUT(image, DENSITY) @ unmixing() * (*times, 1) @ np.linalg.inv(unmixing())
    return np.clip(256 * 10**-density - 1, 0, 255).astype(np.uint8)


SCANNERS = {"A": (0.75, -1, 1.0), "B": (1.0, 0, 0.93), "C": (1.3, 0.8, 1.0), "P": (1.0, 0, 1.0)}
"""Stain, sharpness and light of three sites, and of one that leaves pictures as they are."""

SIDE, ACROSS = 512, 4


@pytest.fixture(scope="module")
def large_slide():
    return generate_slide(SIDE * ACROSS, np.random.SeedSequence(3))


@pytest.fixture(scope="module")
def three_scanners(tmp_path_factory, large_slide):
    """Twelve small slides of three sites, each in every split, with truth, and their patches."""
    root = tmp_path_factory.mktemp("scanners")
    content = make_cohort(root, *large_slide, "ABC")
    params = Params.model_validate(content)
    out = root / "data/patches"
    table = Cohort.read(root / "data/cohort/slides.csv")
    write_manifest(pd.DataFrame(cut_rows(table, kept_in(out), settings=params.patches, vocabulary=LUNG)), out)
    return root, content


def kept_in(folder):
    """What stores patches there."""
    return lambda patch_id, split, **pixels: store_patch(folder, patch_id, split, vocabulary=LUNG, **pixels)


def make_cohort(root, image: np.ndarray, labels: np.ndarray, sites: str) -> dict:
    """Parts of a slide as slides of these sites in turn; gives the content of params.yaml and gates.yaml."""
    folder = root / "data/cohort"
    (folder / "slides").mkdir(parents=True)
    (folder / "truth").mkdir()
    rows = []
    for number in range(12):
        site, split = sites[number % len(sites)], ("train", "train", "valid", "test")[number // 3]
        y, x = (SIDE * place for place in divmod(number, ACROSS))
        part = np.s_[y : y + SIDE, x : x + SIDE]
        write_slide(folder / f"slides/s{number:02d}.tiff", scanned(image[part], *SCANNERS[site]))
        cv2.imwrite(str(folder / f"truth/s{number:02d}.tif"), np.ascontiguousarray(labels[part]))
        name = f"s{number:02d}"
        rows.append({"slide_id": name, "patient_id": name, "site": site, "path": f"slides/{name}.tiff", "split": split})
    write_slide_table(pd.DataFrame(rows), folder / "slides.csv")
    content = set_params(content_of("phantom"))
    looks = {"min_typical_slides", "odd_spread", "odd_factor", "min_focus", "haematoxylin", "eosin", "brightness"}
    for gate in ("cohort", "patches"):
        shipped = getattr(SHIPPED, gate).model_dump()
        content["gates"][gate] |= {name: value for name, value in shipped.items() if name in looks}
    few = ("min_patches_per_class", "min_patients_per_class", "min_slides_per_class", "min_judging_patches")
    content["gates"]["patches"] |= dict.fromkeys(few, 0)  # slides so small lack tissues
    content["patches"] |= {"size": 96}
    return content


class TestThreeScanners:
    @pytest.mark.parametrize("gate", ["cohort", "patches"])
    @pytest.mark.parametrize("enough", [4, 8], ids=["each by its site", "all by all"])
    def test_they_raise_nothing(self, three_scanners, gate, enough):
        root, content = three_scanners
        settings = content["gates"][gate] | {"min_typical_slides": enough}
        params = Params.model_validate(content | {"gates": content["gates"] | {gate: settings}})
        with inside(root):
            result = run_gate(gate, params, root)
        assert not result.failures, result.lines()
        groups = result.measured[f"groups of {'slides' if gate == 'cohort' else 'patches'}"]["values"]
        names = ["site A", "site B", "site C"] if enough == 4 else ["all slides"]
        assert [group["group"] for group in groups] == names

    def test_a_cohort_with_more_eosin_than_was_once_allowed_raises_nothing(self, large_slide, tmp_path):
        """All its slides have 0.51 to 0.54; a fixed limit of 0.5 stopped such cohorts though nothing was wrong."""
        image, labels = large_slide
        image = image.copy()
        for number, wanted in enumerate(np.linspace(0.51, 0.54, 12)):
            y, x = (SIDE * place for place in divmod(number, ACROSS))
            part = np.s_[y : y + SIDE, x : x + SIDE]
            image[part] = restained(image[part], ((0.7, 1.0, 1.4)[number % 3], 1))
            for _ in range(3):  # what is glass, and so no tissue, changes with the stain
                image[part] = restained(image[part], (1, wanted / image_statistics(image[part])["eosin"]))
        content = make_cohort(tmp_path, image, labels, "P")
        params = Params.model_validate(content)
        table = Cohort.read(tmp_path / "data/cohort/slides.csv")
        out = tmp_path / "data/patches"
        write_manifest(pd.DataFrame(cut_rows(table, kept_in(out), settings=params.patches, vocabulary=LUNG)), out)
        with inside(tmp_path):
            results = [run_gate(gate, params, tmp_path) for gate in ("cohort", "patches")]
        assert not [line for result in results for line in result.lines()]
        (group,) = results[0].measured["groups of slides"]["values"]
        low, high = re.search(r"from ([\d.]+) to ([\d.]+)", group["eosin"]).groups()
        assert 0.505 < float(low) < float(high) < 0.56

    def test_a_slide_of_one_of_them_that_is_out_of_focus_is_shown_beside_a_typical_one(self, large_slide, tmp_path):
        image, labels = large_slide
        image = image.copy()
        part = np.s_[SIDE : 2 * SIDE, :SIDE]
        image[part] = cv2.GaussianBlur(image[part], (0, 0), 3)
        content = make_cohort(tmp_path, image, labels, "B")
        with inside(tmp_path):
            result = run_gate("cohort", Params.model_validate(content), tmp_path)
            write_json(report_path("cohort"), result.as_dict())
            page = render_page(tmp_path)
        (failure,) = result.failures
        assert (failure.name, failure.offending) == ("focus", ("s04",))
        known = r"typical of site B \d{3}, from \d{3} to \d{3}"
        assert re.search(rf"s04: .*: focus [\d.]+, below [\d.]+; {known}$", failure.problem)
        (like,) = failure.typical
        assert like != "s04"
        assert re.findall(r"<figcaption>(.*?)</figcaption>", page) == ["s04", f"typical here: {like}"]
        assert "What is typical, and what is odd beside it" in page
