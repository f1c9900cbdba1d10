"""docs/library.md keeps its word: its blocks of Python, its config and its notebook are run as they stand.

The notebook is read as JSON: running its cells needs no Jupyter, of which the project's environment has nothing.
"""

import json
import re
import subprocess

import cv2
import numpy as np
import pytest
import tifffile

from tests import warm
from tests.docs.pages import blocks
from wsss_mm.models.backbones.resnet38 import scaled

PAGE, CONFIG, NOTEBOOK = "docs/library.md", "docs/examples/resnet38_psp.py", "docs/examples/library.ipynb"
RUN = """
import sys
for path in sys.argv[1:]:
    exec(compile(open(path, encoding="utf-8").read(), path, "exec"), {"__name__": "__main__"})
"""


@pytest.fixture
def place(tmp_path, project_root):
    """A folder of a stranger: the config, two patches with masks, and a slide."""
    (tmp_path / "resnet38_psp.py").write_text((project_root / CONFIG).read_text(encoding="utf-8"), encoding="utf-8")
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (tmp_path / "data" / name).mkdir(parents=True)
    for number in range(2):
        masks = np.repeat(np.repeat(rng.integers(0, 3, (6, 6)), 32, axis=0), 32, axis=1).astype(np.uint8)
        image = np.stack([masks * 80 + 20, 255 - masks * 60, masks * 20], axis=2)
        masks[:4] = 255
        cv2.imwrite(str(tmp_path / f"data/images/{number}.png"), image)
        cv2.imwrite(str(tmp_path / f"data/masks/{number}.png"), masks)
    slide = np.full((400, 500, 3), 245, np.uint8)
    slide[100:300, 100:300] = (200, 60, 60)
    tifffile.imwrite(tmp_path / "scan.tiff", slide, tile=(64, 64), photometric="rgb", compression="zlib")
    return tmp_path


def cells(project_root):
    """Code of the notebook's cells."""
    content = json.loads((project_root / NOTEBOOK).read_text(encoding="utf-8"))
    assert content["nbformat"] == 4
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code"]


def python_blocks(project_root):
    text = (project_root / PAGE).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.mark.slow
def test_blocks_config_and_notebook_run(place, project_root):
    """In one process, one after the other: the page, which trains the config, and the notebook."""
    (place / "page.py").write_text("\n".join(python_blocks(project_root)), encoding="utf-8")
    (place / "notebook.py").write_text("\n".join(cells(project_root)), encoding="utf-8")
    done = subprocess.run(
        [warm.python(), "-c", RUN, "page.py", "notebook.py"], cwd=place, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert "decode.loss_noise_suppressed" in done.stdout + done.stderr
    assert sorted(path.name for path in (place / "results/scan").iterdir()) == [
        *("overlay.png", "segmentation.geojson", "segmentation.tif", "summary.json")
    ]
    assert "(200, 250) uint8" in done.stdout
    assert "100%" in done.stdout
    assert "eosin" in done.stdout


def test_the_notebook_is_committed_without_results(project_root):
    content = json.loads((project_root / NOTEBOOK).read_text(encoding="utf-8"))
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


def test_the_table_of_channels_is_the_networks(project_root):
    from wsss_mm.encoders import LEVELS

    text = (project_root / PAGE).read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d) \| (b\d) \| (\d) \| (.+) \|$", text, re.MULTILINE)
    stride, wanted = 1, []
    for index, level in enumerate(LEVELS):
        stride *= level.stride
        counts = " | ".join(str(scaled(level.out, width)) for width in (1, 0.5, 0.25, 0.125))
        wanted.append((str(index), level.name, str(stride), counts))
    assert rows == wanted
    told = re.findall(r"(\d): (b\d) (\d+)", (project_root / CONFIG).read_text(encoding="utf-8"))
    assert told == [(index, name, counts.split()[0]) for index, name, _, counts in wanted]


def test_converted_weights_are_what_the_backbone_begins_with(place):
    """`init_cfg`, as the page writes it; of a narrow network, whose file has few kB."""
    import torch
    from mmengine.config import Config

    from wsss_mm.models import ResNet38
    from wsss_mm.registry import MODELS

    torch.save(ResNet38(1 / 64).state_dict(), place / "resnet38.pth")
    config = Config.fromfile(place / "resnet38_psp.py").model.backbone
    config.update(width=1 / 64, init_cfg={"type": "Pretrained", "checkpoint": str(place / "resnet38.pth")})
    network = MODELS.build(config)
    network.init_weights()
    wanted = torch.load(place / "resnet38.pth")
    assert all(torch.equal(value, wanted[name]) for name, value in network.state_dict().items())


def test_the_page_has_no_block_that_is_neither_run_nor_excused(project_root):
    assert len(python_blocks(project_root)) >= 9
    assert all(block.reason for block in blocks(project_root, PAGE))
