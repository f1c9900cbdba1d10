"""What MLflow shows of a run first: its name and a description of two lines."""

from wsss_mm.tracking.headlines import model_headline, numbered_name, run_name
from wsss_mm.tracking.headlines import test_headline as headline_of_test


def test_a_name_says_what_was_trained_and_which_run_it_is():
    params = {"seed": 0, "classifier": {"encoder": "resnet38", "epochs": 12}}
    name = run_name("train_classifier", params, "0437067b")
    assert numbered_name(name, "000000012") == "classifier 12: resnet38, 12 epochs (0437067b)"
    name = run_name("evaluate", {"evaluate": {"flip": True}}, "no-commit")
    assert numbered_name(name, "3") == "evaluate 3 (no-commit)"
    assert numbered_name("an-experiment-of-dvc", "3") == "an-experiment-of-dvc"


def test_a_model_says_what_it_is_and_how_good():
    info = {"kind": "segmenter", "cohort": "phantom", "train_patches": 385, "mpp": 1.0, "valid": {"miou": 0.8674}}
    text = model_headline(info | {"classes": [{"code": "TE", "name": "Tumour epithelium"}]})
    assert text.startswith("**Tissue segmenter**, mIoU 0.867 on the validation split. TE Tumour epithelium.\n\n")
    assert "Cohort `phantom`, 385 training patches at 1.0 um/px. Research use only" in text
    assert "not judged on a validation split" in model_headline(info | {"valid": {}})


def test_the_test_split_comes_with_its_interval():
    metrics = {"ungated": {"miou": 0.931, "iou.TE": 0.94, "iou.LYM": None}, "n_patches": 112, "n_slides": 2}
    interval = {"bootstrap": {"ungated": {"miou": [0.92, 0.94]}}}
    assert headline_of_test(metrics | interval) == (
        "**Test mIoU 0.931** (95 % interval 0.920 to 0.940), 112 patches of 2 slides. IoU: TE 0.940."
    )
    assert "interval" not in headline_of_test(metrics)
    assert headline_of_test({"ungated": {"miou": None}}) == "**Not judged**: no test patch has a mask."
