"""What a row of encoders.yaml must be; every one whose class is this package's or the project's own is asked."""

import pytest
import torch
from mmengine import ConfigDict

from tests.contracts.registered import ROOT, own_modules
from wsss_mm.encoders import read_encoders
from wsss_mm.places import ENCODERS_FILE
from wsss_mm.registry import MODELS

ROWS = {name: row for name, row in read_encoders(ROOT / ENCODERS_FILE).items() if row.loader == "wsss_mm"}


@pytest.mark.parametrize("name", ROWS)
def test_it_says_what_its_class_is(name):
    """Settings are held against the row, before the class is there."""
    row = ROWS[name]
    own_modules()
    with torch.device("meta"):
        backbone = MODELS.build(ConfigDict(row.config))
    assert backbone.stages == row.stages
    assert (*backbone.cam_layers, backbone.last_layer) == row.layers
    assert (tuple(backbone.mean), tuple(backbone.std)) == (row.mean, row.std)
    assert backbone.size_multiple == row.sizes.multiple
