"""`wsss-mm model export` and `import`: models for other machines and other programs."""

import argparse
import logging
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_mm import places
from wsss_mm.errors import InputError

if TYPE_CHECKING:
    from wsss_mm.tracking.evidence import Evidence

logger = logging.getLogger(__name__)

_BUNDLE, _FORMS = "bundle", ("torchscript", "onnx")
_NONE = "none"
_DIGITS = 12  # of a digest in a folder's name
_LONGEST_CARD = 5000  # characters that MLflow shows
_IMPORTED = "imported.bundle"
"""Tag of a version that came as a bundle: its digest."""


def add_actions(actions: Any) -> None:
    """Add the two actions to those of `wsss-mm models`."""
    export = actions.add_parser(
        "export",
        help="a model as one file for another machine, or as WSInfer, QuPath or onnxruntime run it",
        description="Write a model into a folder, under a name with its digest. As a bundle: one ZIP with weights, "
        "description, card and vocabulary, of a segmenter and of the classifier it learnt from. As torchscript: with "
        "the config.json that WSInfer and QuPath read. As onnx: for other programs.",
        epilog="examples: wsss-mm model export --to outbox; wsss-mm model export models:/segmenter-phantom@champion "
        "--to outbox; wsss-mm model export models/classifier --form torchscript --to outbox",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    export.add_argument(
        "model",
        nargs="?",
        default=places.SEGMENTER.as_posix(),
        help="folder of a segmenter or a classifier, or models:/NAME@ALIAS",
    )
    export.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="gets the file, or a folder of files")
    export.add_argument("--form", choices=(_BUNDLE, *_FORMS), default=_BUNDLE, help="what is written")
    export.add_argument(
        "--classifier",
        metavar="FOLDER",
        help=f"that a segmenter learnt from, or {_NONE}; else {places.CLASSIFIER}, if it is that one",
    )
    export.add_argument("--name", help="what the file is called; else as it is registered, or its cohort")
    export.set_defaults(handler=_export)
    bring = actions.add_parser(
        "import",
        help="take a bundle from another machine: unpack it, register it, or both",
        description="Look whether a bundle is what was exported, and unpack or register its model. Nothing in it is "
        "executed.",
        epilog="example: wsss-mm model import segmenter-phantom-0123456789abcdef.zip --to models/theirs",
    )
    bring.add_argument("bundle", type=Path, help="the file, or the folder of one that was unpacked")
    bring.add_argument("--to", type=Path, metavar="FOLDER", help="a new folder that gets segmenter/ and classifier/")
    bring.add_argument("--register", metavar="NAME", help="make the segmenter a version of this registered model")
    bring.add_argument("--digest", metavar="HEX", help="what it must have, at least 8 digits, from who exported it")
    bring.set_defaults(handler=_import)


@dataclass(frozen=True)
class _Chosen:
    """A model to export: its folder, what it is called, what was measured of it, and its registered card, if any."""

    folder: Path
    name: str
    evidence: "Evidence"
    card: str | None = None


def _export(arguments: argparse.Namespace) -> None:
    if arguments.to.exists() and not arguments.to.is_dir():
        raise InputError(f"--to {arguments.to}: is no folder; name another place")
    if arguments.classifier not in (None, _NONE) and arguments.form != _BUNDLE:
        raise InputError(f"--classifier: goes into a bundle alone, not into {arguments.form}; leave it out")
    with tempfile.TemporaryDirectory() as scratch:
        chosen = _chosen(arguments.model, arguments.name, Path(scratch))
        written = (_bundle if arguments.form == _BUNDLE else _form)(arguments, chosen, Path(scratch))
    sys.stdout.write(f"{written}\n")


def _chosen(model: str, name: str | None, scratch: Path) -> _Chosen:
    from wsss_mm.models.description import described
    from wsss_mm.tracking.evidence import Evidence, read_evidence

    if model.startswith("models:/"):
        from wsss_mm.tracking import download_model
        from wsss_mm.tracking.changes import run_of
        from wsss_mm.tracking.evidence import run_evidence
        from wsss_mm.tracking.registry import find_version, parse_uri

        version = find_version(*parse_uri(model))
        folder = download_model(f"models:/{version.name}/{version.version}", scratch / "registered")
        evidence = run_evidence(run_of(version), scratch / "evidence")
        return _Chosen(folder, name or version.name, evidence, version.description or None)
    folder = Path(model)
    info = described(folder)
    evidence = read_evidence(Path()) if _is_the_lines(folder) else Evidence(folder)
    return _Chosen(folder, name or f"{info.get('kind')}-{info.get('cohort', 'model')}", evidence)


def _is_the_lines(folder: Path) -> bool:
    return Path(places.PARAMS_FILE).is_file() and any(
        place.is_dir() and place.samefile(folder) for place in (places.SEGMENTER, places.CLASSIFIER)
    )


def _bundle(arguments: argparse.Namespace, chosen: _Chosen, scratch: Path) -> Path:
    from wsss_mm.engine.hub_card import hub_header, without_header
    from wsss_mm.models.bundle import with_validated, write_bundle
    from wsss_mm.models.description import described

    folder = with_validated(chosen.folder, scratch / "validated")
    info = described(folder)
    classifier = _classifier(arguments.classifier, info, chosen.evidence)
    others = [described(classifier)] if classifier else []
    _warn_of_licences(info, *others)
    tested = chosen.evidence.test if _tested(folder, info, chosen.evidence) else {}
    own = folder / places.CARD
    body = chosen.card or (without_header(own.read_text(encoding="utf-8")) if own.is_file() else "")
    card = f"{hub_header(info, *others, test=tested.get('ungated'))}\n{body}"
    return write_bundle([folder, *([classifier] if classifier else [])], arguments.to, chosen.name, card=card)


def _tested(folder: Path, info: Any, evidence: "Evidence") -> bool:
    """Whether figures of the test split are of these weights."""
    from wsss_mm.files import digest

    said = evidence.test.get("weights_md5") or {}
    return info["kind"] == "segmenter" and said.get("segmenter") == digest(folder / places.WEIGHTS, "md5")


def _classifier(named: str | None, info: Any, evidence: "Evidence") -> Path | None:
    """The classifier that a segmenter learnt from: the one that is named, or the line's, if it is that one."""
    from wsss_mm.files import digest
    from wsss_mm.models.description import described

    if info.get("kind") != "segmenter" and named not in (None, _NONE):
        raise InputError(f"--classifier {named}: goes out beside a segmenter, and this model is none; leave it out")
    if info.get("kind") != "segmenter" or named == _NONE:
        return None
    if named is not None:
        return Path(named)
    folder = places.CLASSIFIER
    if not (folder / places.DESCRIPTION).is_file() or not (folder / places.WEIGHTS).is_file():
        return None
    known = (evidence.test.get("weights_md5") or {}).get("classifier")
    if known is not None:
        same = known == digest(folder / places.WEIGHTS, "md5")
    else:
        same = described(folder).get("patches") == info.get("patches") is not None
    if not same:
        logger.warning(
            "%s: not the classifier that this segmenter learnt from, so it is left out; name that one: --classifier",
            folder,
        )
    return folder if same else None


def _form(arguments: argparse.Namespace, chosen: _Chosen, scratch: Path) -> Path:
    from wsss_mm.models.description import described, folder_digest
    from wsss_mm.models.forms import write_form
    from wsss_mm.names import safe_name

    _warn_of_licences(described(chosen.folder))
    target = arguments.to / f"{safe_name(chosen.name)}-{folder_digest(chosen.folder)[:_DIGITS]}-{arguments.form}"
    write_form(chosen.folder, target, arguments.form)
    return target


def _warn_of_licences(*infos: Any) -> None:
    """What is exported is to be passed on: say what the licences of its encoders say to that."""
    from wsss_mm.encoders.licences import licence_lines

    for line in licence_lines(*infos):
        logger.warning("%s", line)


def _import(arguments: argparse.Namespace) -> None:
    from wsss_mm.models.bundle import KINDS, opened_bundle, unpack_bundle

    if arguments.to is None and arguments.register is None:
        raise InputError("say what to do with it: --to FOLDER unpacks it, --register NAME registers its segmenter")
    with opened_bundle(arguments.bundle, arguments.digest) as (folder, note):
        if arguments.register is not None and "segmenter" not in note["models"]:
            raise InputError(f"{arguments.bundle}: holds no segmenter, and no other kind is registered; use --to")
        if arguments.to is not None:
            unpack_bundle(folder, arguments.to)
            kinds = ", ".join(f"{arguments.to / kind}" for kind in KINDS if kind in note["models"])
            sys.stdout.write(f"{kinds}: unpacked, digest {note['digest']}\n")
        if arguments.register is not None:
            _register(folder, arguments.register, note["digest"])


def _register(folder: Path, name: str, digest: str) -> None:
    """Make the segmenter a version, which shows the bundle's card and is nobody's champion yet."""
    from wsss_mm.engine.hub_card import without_header
    from wsss_mm.tracking.registry import register_segmenter
    from wsss_mm.tracking.store import connect

    done = register_segmenter(folder / "segmenter", name, tags={_IMPORTED: digest}, champion=False)
    if done.created:
        card = without_header((folder / places.CARD).read_text(encoding="utf-8", errors="replace"))
        connect().MlflowClient().update_model_version(name, done.version, description=card[:_LONGEST_CARD])
    there = "" if done.created else ", which was there before"
    sys.stdout.write(
        f"{done.name}: version {done.version}{there}; no gate of this project has judged it, so whoever has tried it "
        f"promotes it: wsss-mm models promote {done.version} --name {done.name} --force REASON\n"
    )
