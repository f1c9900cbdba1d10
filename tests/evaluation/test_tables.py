import json

import numpy as np
import pandas as pd
import yaml

from wsss_mm.evaluation import segmentation_metrics
from wsss_mm.evaluation.tables import confusion_table, count_table, counts_of, iou_table, with_colors, write_plot
from wsss_mm.vocabulary import get_vocabulary

CODES = ["A", "B", "C"]
CONFUSION = np.array([[3, 1, 0], [0, 2, 2], [0, 0, 0]])


def test_confusion_shares_add_up_to_one_in_each_true_class_and_absent_classes_have_no_rows():
    table = confusion_table(CONFUSION, CODES)
    assert table.groupby("actual")["share"].sum().to_dict() == {"A": 1.0, "B": 1.0}
    assert table["pixels"].sum() == CONFUSION.sum()
    assert table.set_index(["actual", "predicted"]).loc[("A", "B"), "share"] == 0.25


def test_iou_table_leaves_absent_classes_out():
    table = iou_table(segmentation_metrics(CONFUSION, CODES), CODES)
    assert table["class"].tolist() == ["A", "B"]


def test_csv_is_plain(tmp_path):
    write_plot(confusion_table(CONFUSION, CODES), tmp_path / "plots" / "confusion.csv")
    lines = (tmp_path / "plots" / "confusion.csv").read_text().splitlines()
    assert lines[:2] == ["actual,predicted,pixels,share", "A,A,3,0.750000"]


def test_templates_of_dvc_plots_name_the_columns_of_the_tables(project_root):
    for name, columns in (("confusion_shares", ["share", "pixels"]), ("share_bars", ["<DVC_METRIC_X>"])):
        template = json.loads((project_root / ".dvc" / "plots" / f"{name}.json").read_text())
        assert sorted(template["data"]["format"]["parse"]) == sorted(columns)  # DVC hands CSV values over as text
        assert template["data"]["values"] == "<DVC_METRIC_DATA>"


def test_bars_of_dvc_plots_have_the_colours_of_the_classes(project_root):
    lung = get_vocabulary("lung")
    table = with_colors(pd.DataFrame({"class": ["TE", "LYM"], "iou": [0.5, 0.6]}), lung)
    assert table["color"].tolist() == ["#c81e1e", "#285af0"]
    template = json.loads((project_root / ".dvc" / "plots" / "share_bars.json").read_text())
    shade = template["layer"][0]["encoding"]["color"]
    assert shade["scale"] is None  # the value is the colour
    assert {"calculate": "datum.color || '#888888'", "as": shade["field"]} in template["transform"]


def test_every_template_the_line_names_is_there(project_root):
    line = yaml.safe_load((project_root / "dvc.yaml").read_text())
    named = {value["template"] for plot in line["plots"] for value in plot.values()}
    assert {f"{name}.json" for name in named} == {path.name for path in (project_root / ".dvc/plots").iterdir()}
    outs = [out for stage in line["stages"].values() for out in stage.get("outs", []) if isinstance(out, dict)]
    files = {path for out in outs for path in out}
    assert {path for plot in line["plots"] for value in plot.values() for path in value["y"]} <= files


def test_counts_come_back_as_they_were(tmp_path):
    matrices = {name: np.arange(18).reshape(2, 3, 3) * factor for name, factor in (("ungated", 1), ("gated", 1000))}
    write_plot(count_table(["a", "b"], CODES, **matrices), tmp_path / "counts.csv")
    table = pd.read_csv(tmp_path / "counts.csv")
    assert list(table)[:3] == ["patch_id", "ungated.A.A", "ungated.A.B"]
    for name, expected in matrices.items():
        np.testing.assert_array_equal(counts_of(table, name, CODES), expected)
    assert counts_of(count_table([], CODES, all=np.zeros((0, 3, 3), np.int64)), "all", CODES).shape == (0, 3, 3)
