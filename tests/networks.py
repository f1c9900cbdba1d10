"""Stored networks of random weights, as narrow as can be."""

from pathlib import Path

from wsss_mm import places

CODES = ("TE", "NEC", "LYM", "TAS")


def make_classifier(root, size=64, codes=CODES, seed=0, more=None):
    """A classifier in models/classifier of a project."""
    import torch

    from wsss_mm.models import build_network, save_model
    from wsss_mm.vocabulary import get_vocabulary

    norm = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
    model = {
        "type": "wsss_mm.PatchClassifier",
        "classes": len(codes),
        "backbone": {"type": "wsss_mm.ResNet38", "width": 1 / 64, "out_indices": [5]},
        "data_preprocessor": {"type": "mmengine.ImgDataPreprocessor", **norm},
    }
    torch.manual_seed(seed)
    network = build_network(model)
    classes = [item for item in get_vocabulary("lung").to_json()["classes"] if item["code"] in codes]
    info = {"kind": "classifier", "model": model, "mpp": 1.0, "size": size, "classes": classes, **(more or {})}
    save_model(root / places.CLASSIFIER, state=network.state_dict(), info=info, config_text="", card="")
    return network.eval()


def make_segmenter(folder):
    """A segmenter of the vocabulary lung, and its folder."""
    import torch
    from mmengine.config import Config

    from wsss_mm.models import build_network, save_model
    from wsss_mm.vocabulary import get_vocabulary

    network = Config.fromfile(Path(__file__).resolve().parent.parent / "mmconfigs/segmenter.py").model.to_dict()
    network["backbone"]["width"] = 1 / 32
    for head, inputs in (("decode_head", 128), ("auxiliary_head", 32)):
        network[head] |= {"in_channels": inputs, "channels": 8, "num_classes": 4}
    torch.manual_seed(0)
    classes = get_vocabulary("lung").to_json()["classes"]
    info = {"kind": "segmenter", "classes": classes, "mpp": 1.0, "size": 64, "width": 1 / 32, "model": network}
    save_model(folder, state=build_network(network).state_dict(), info=info, config_text="", card="")
    return folder
