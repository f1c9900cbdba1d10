"""A version of one registry goes as a bundle into another."""

import zipfile
from pathlib import Path

import torch

from tests.fuzzing.of_files import SEGMENTER, model_info
from wsss_mm.cli.main import main
from wsss_mm.models import build_network, save_model
from wsss_mm.models.description import VALIDATED
from wsss_mm.tracking.registry import find_version, register_segmenter
from wsss_mm.tracking.store import connect


def test_from_registry_to_registry(tracked, capsys):
    torch.manual_seed(0)
    info = model_info("segmenter", SEGMENTER) | {"cohort": "small", "valid": {"miou": 0.5}, VALIDATED: {"window": 64}}
    save_model(Path("m"), state=build_network(SEGMENTER).state_dict(), info=info, config_text="", card="# Old\n")
    register_segmenter(Path("m"), "bundled", champion=True)
    connect().MlflowClient().update_model_version("bundled", "1", description="# The card of the version\n")

    assert main(["model", "export", "models:/bundled@champion", "--to", "out"]) == 0
    (path,) = Path("out").iterdir()
    assert capsys.readouterr().out.splitlines()[-1] == str(path)
    assert path.name.startswith("bundled-")
    with zipfile.ZipFile(path) as archive:
        card = archive.read("README.md").decode()
    assert card.startswith("---\nlicense: apache-2.0\n")
    assert card.endswith("# The card of the version\n")

    assert main(["model", "import", str(path), "--register", "theirs", "--digest", path.stem[-16:]]) == 0
    assert "theirs: version 1; no gate of this project has judged it" in capsys.readouterr().out
    ours, theirs = find_version("bundled", "1"), find_version("theirs", "1")
    assert theirs.tags["model_digest"] == ours.tags["model_digest"]
    assert theirs.tags["imported.bundle"].startswith(path.stem[-16:])
    assert theirs.description.strip() == "# The card of the version"
    assert connect().MlflowClient().get_registered_model("theirs").aliases == {"challenger": 1}
    assert main(["model", "import", str(path), "--register", "theirs"]) == 0
    assert "which was there before" in capsys.readouterr().out
