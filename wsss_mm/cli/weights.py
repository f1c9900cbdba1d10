"""`wsss-mm weights`: look into and convert pretrained ResNet38 weights."""

import argparse
import sys
from pathlib import Path
from typing import Any

PUBLISHED_MD5 = "ff21f45d6bf03284100dcbec571edfad"
"""md5 of the published file ilsvrc-cls_rna-a1_cls1000_ep-0001.params."""


def add_parser(subparsers: Any) -> None:
    """Add the sub-command and its two actions."""
    parser = subparsers.add_parser("weights", help="inspect or convert pretrained weights (MXNet .params)")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    inspect = actions.add_parser("inspect", help="list the arrays of an MXNet .params file")
    inspect.add_argument("file", type=Path, help="the .params file")
    inspect.set_defaults(handler=_inspect)
    convert = actions.add_parser("convert", help="convert an MXNet .params file to a PyTorch state dict")
    convert.add_argument("file", type=Path, help="the .params file")
    convert.add_argument("out", type=Path, help="the .pth file to write")
    convert.set_defaults(handler=_convert)


def _check_md5(file: Path) -> None:
    from wsss_mm.files import digest

    found = digest(file, "md5")
    verdict = "the published file" if found == PUBLISHED_MD5 else f"differs from the published file's {PUBLISHED_MD5}"
    sys.stdout.write(f"{file}: md5 {found}, {verdict}\n")


def _inspect(arguments: argparse.Namespace) -> None:
    from wsss_mm.models.pretrained import read_mxnet_params

    arrays = read_mxnet_params(arguments.file)
    for name, array in arrays.items():
        sys.stdout.write(f"{name:40} {array.dtype!s:8} {'x'.join(map(str, array.shape))}\n")
    sys.stdout.write(f"{len(arrays)} arrays, {sum(array.size for array in arrays.values()):,} numbers\n")
    _check_md5(arguments.file)


def _convert(arguments: argparse.Namespace) -> None:
    import torch

    from wsss_mm.errors import InputError
    from wsss_mm.files import atomic_path
    from wsss_mm.models.pretrained import read_mxnet_params, resnet38_state_dict

    arrays = read_mxnet_params(arguments.file)
    try:
        state = resnet38_state_dict(arrays, width=1.0)
    except InputError as error:
        raise InputError(f"{arguments.file}: {error}") from None
    _check_md5(arguments.file)
    with atomic_path(arguments.out) as temporary:
        torch.save(state, temporary)
    sys.stdout.write(f"{arguments.out}: {len(state)} tensors\n")
