"""The core works without what the extras bring, and what is missing is one line."""

import re
import subprocess
import sys
import textwrap

import pytest

from wsss_mm import extras
from wsss_mm.extras import EXTRAS, missing_extra

LINE = (*EXTRAS["line"], "sqlalchemy", "alembic", "boto3", "psycopg2", "ray", "transformers")

BEGINNING = """
    import sys
    for name in {blocked!r}:
        sys.modules[name] = None  # an import of it fails, as where it is not installed

    import numpy as np
    import tifffile
    import torch

    from wsss_mm.cam import grad_cam_plus_plus, grad_cam_plus_plus_autograd, vote
    from wsss_mm.cli.main import main
    from wsss_mm.models import NoiseSuppressedCrossEntropyLoss
    from wsss_mm.slides import open_slide
    from wsss_mm.vocabulary import TissueClass
    from wsss_mm.wsi import SlideModel, segment_slide

    logits = torch.randn(2, 2, 16, 16, requires_grad=True)
    NoiseSuppressedCrossEntropyLoss()(logits, torch.zeros(2, 16, 16, dtype=torch.long)).backward()
    assert logits.grad.abs().sum() > 0
    features, head = torch.rand(2, 4, 7, 7, requires_grad=True), torch.nn.Linear(4, 3)
    maps = grad_cam_plus_plus(features, head.weight)
    assert torch.allclose(maps, grad_cam_plus_plus_autograd(features, head(features.mean((2, 3)))), atol=1e-5)
    assert vote(torch.stack([maps.argmax(1)] * 3)).shape == (2, 7, 7)

    image = np.full((128, 192, 3), 245, np.uint8)
    image[32:96, 32:96] = (150, 60, 60)
    tifffile.imwrite("scan.tiff", image, tile=(64, 64), photometric="rgb")
    with open_slide("scan.tiff", mpp=1.0) as slide:
        assert slide.read(32, 32, 8, 1.0).shape == (8, 8, 3)

    def predict(windows):
        red = windows[..., 0].astype(np.float32) / 255
        return np.stack([1 - red, red], axis=1)

    classes = (TissueClass("A", "one", (200, 30, 30)), TissueClass("B", "two", (30, 30, 200)))
    model = SlideModel(predict, classes, 1.0, "")
    summary, labels = segment_slide(
        "scan.tiff", model, mpp_override=1.0, window=64, min_island=0, return_map=True, progress=False
    )
    assert (labels[40:90, 40:90] == 1).all() and (labels[:20] == 255).all()
    print("core: fine")
"""


def run(code, folder):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done


def test_the_core_without_the_line_and_without_mmengine(tmp_path):
    """Losses, CAMs, the reader and slides; and what needs more says what that is."""
    code = (
        BEGINNING.format(blocked=(*LINE, *EXTRAS["mmseg"]))
        + """
    import wsss_mm.cam
    import wsss_mm.models
    for package, name in ((wsss_mm.models, "ResNet38"), (wsss_mm.cam, "PseudoLabeller")):
        try:
            getattr(package, name)
        except ModuleNotFoundError as error:
            print(error)
    assert not hasattr(wsss_mm.models, "nothing")
    try:
        from wsss_mm.models import load_model
    except ImportError as error:
        assert "wsss-mm[mmseg]" in str(error)
    print(main(["models", "list", "--name", "a"]), main(["segment", "scan.tiff", "--model", "none", "--mpp", "1"]))
    """
    )
    done = run(code, tmp_path)
    assert "core: fine" in done.stdout
    needs = "needs mmengine: mmengine is not installed; pip install 'wsss-mm[mmseg]', or openmmlab's own"
    assert f"wsss_mm.models.ResNet38 {needs}" in done.stdout
    assert f"wsss_mm.cam.PseudoLabeller {needs}" in done.stdout
    assert done.stdout.endswith("2 2\n")
    errors = [line for line in done.stderr.splitlines() if "error:" in line]
    assert len(errors) == 2
    assert all("pip install 'wsss-mm[" in line for line in errors)
    assert "Traceback" not in done.stderr


def test_networks_and_the_loss_in_a_config_without_the_line(tmp_path):
    """mmseg builds both of a config, by their scope alone."""
    code = (
        BEGINNING.format(blocked=LINE)
        + """
    import warnings
    warnings.simplefilter("ignore")
    from mmengine.registry import init_default_scope
    init_default_scope("mmseg")
    from mmseg.registry import MODELS
    import mmseg.models
    from mmseg.structures import SegDataSample
    from mmengine.structures import PixelData
    network = MODELS.build(dict(
        type="EncoderDecoder",
        backbone=dict(type="wsss_mm.ResNet38", width=1 / 64, out_indices=(5,)),
        decode_head=dict(type="FCNHead", in_channels=64, in_index=0, channels=4, num_classes=2, num_convs=1,
                         loss_decode=dict(type="wsss_mm.NoiseSuppressedCrossEntropyLoss", variant="onss")),
        train_cfg=dict(), test_cfg=dict(mode="whole")))
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.zeros(1, 32, 32, dtype=torch.long)))
    losses = network.loss(torch.rand(2, 3, 32, 32), [sample, sample])
    losses["decode.loss_noise_suppressed"].backward()
    print(sorted(losses))
    """
    )
    done = run(code, tmp_path)
    assert "decode.loss_noise_suppressed" in done.stdout


def test_what_an_extra_brings_is_told_apart_from_a_defect():
    assert missing_extra(ModuleNotFoundError("no", name="mlflow.entities")) == (
        "mlflow is not installed; pip install 'wsss-mm[line]'"
    )
    assert "openmmlab" in (missing_extra(ModuleNotFoundError("no", name="mmseg")) or "")
    assert missing_extra(ModuleNotFoundError("no", name="wsss_mm.nothing")) is None
    assert missing_extra(ValueError("mlflow")) is None


def metadata_of(project_root):
    if sys.version_info < (3, 11):
        pytest.skip("tomllib came with Python 3.11")
    import tomllib

    return tomllib.loads((project_root / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def names(requirements):
    return {re.split(r"[\[<>=; ]", text)[0].lower() for text in requirements}


def test_the_core_asks_for_ranges_and_for_nothing_of_the_line(project_root):
    project = metadata_of(project_root)
    core, more = project["dependencies"], project["optional-dependencies"]
    assert [text for text in core if "==" in text or ">=" not in text] == []
    assert [text for text in (*more["mmseg"], *more["line"]) if "==" in text] == []
    assert names(core) & names(more["line"]) == set()
    assert "wsss-mm[mmseg]" in more["line"]
    modules = {"mmengine": "onedl-mmengine", "mmcv": "onedl-mmcv", "mmseg": "onedl-mmsegmentation"}
    modules |= {"great_expectations": "great-expectations", "sklearn": "scikit-learn"}
    brought = {"werkzeug", "threadpoolctl"}  # by flask and scikit-learn
    for extra in ("mmseg", "line"):
        wanted = {modules.get(module, module) for module in EXTRAS[extra]} - brought
        assert wanted == names(more[extra]) - {"wsss-mm"}


def test_what_is_asked_for_is_locked(project_root):
    project = metadata_of(project_root)
    locked = names((project_root / "requirements.lock").read_text(encoding="utf-8").splitlines())
    asked = names([*project["dependencies"], *project["optional-dependencies"]["line"]])
    assert {name.replace(".", "-") for name in asked} - locked == {"torch", "opencv-python", "wsss-mm"}


def test_every_import_outside_of_functions_is_of_the_core(project_root):
    """Modules of the line are imported where they are used, so that the rest can be imported without them."""
    late = {"mlflow", "dvc", "great_expectations", "gto", "sklearn", "flask", "werkzeug"}
    found = [
        f"{path.relative_to(project_root)}: {line}"
        for path in (project_root / "wsss_mm").rglob("*.py")
        for line in re.findall(r"^(?:from|import) (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        if line in late and path.name != "pyfunc_model.py"
    ]
    assert found == []
    assert extras.has_mmengine()
