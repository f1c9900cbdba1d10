"""params.yaml as typed, frozen settings: types, ranges and meaning of every knob, and which of them fit each other.

The longest sections stand beside this file: `cohort.py`, `trainings.py`, `gates.py`.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, create_model

from wsss_mm.cam_methods import LAST_LAYER, METHODS
from wsss_mm.encoders import Encoder, get_encoder, hardly_moves
from wsss_mm.settings.cohort import CUT, CohortSettings
from wsss_mm.settings.gates import GateSettings
from wsss_mm.settings.sections import AtOnce, BareOff, Count, Faults, Natural, Positive, Section, Share, one_of
from wsss_mm.settings.trainings import ClassifierSettings, Precision, SegmenterSettings
from wsss_mm.slide_parameters import SETTINGS, TYPES, Parameters, choices_of, faults, number_of
from wsss_mm.vocabulary import Split
from wsss_mm.yaml_places import suggestion

_LONGEST_NAME = 200
_PHANTOM_MPP = 0.5  # um/px of its slides
_LARGEST_SHOWN = 4096  # px, side of what a network is shown


class PatchSettings(Section):
    """How slides are cut, and which patch counts as labelled with a class."""

    mpp: Positive  # um/px
    size: Annotated[Natural, Field(ge=32)]  # px
    min_tissue: Share  # patches with less tissue are left out
    leave_out_pen: bool  # whether pen on the glass is no tissue
    min_class_share: Share  # a class below this share of a patch is not seen by whoever labels it (phantom only)
    valid_share: Share  # share of the training groups held out where a cohort comes without a validation split
    storage: Literal["auto", "files", "shards"]  # of patches and of their pseudo-labels, see `wsss_mm.patches.shards`


class StainSettings(Section):
    """What is done about stains that differ from slide to slide (see `wsss_mm.slides.stain`)."""

    icc: bool  # slides are read as sRGB, by the colour profile that each has embedded
    normalization: Literal["none", "macenko", "reinhard"]  # of what networks are shown


def _layers_named(value: Any) -> str | tuple[str, ...]:
    """A layer, or several, whose maps are averaged."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple) and value and all(isinstance(item, str) for item in value):
        return tuple(value)
    shown = " ".join(str("null" if value is None else value).split())[:40] or "empty"
    raise ValueError(f"Input should be a layer or a list of layers, but it is {shown}")


class PseudoLabelSettings(Section):
    """Class activation maps, gating, background and voting (METHOD.md section 3; see `wsss_mm.cam.PseudoLabeller`)."""

    method: Annotated[str, one_of(METHODS)]
    layer: Annotated[Any, AfterValidator(_layers_named)]  # text or texts: of the classifier's encoder, or last
    scales: Annotated[tuple[Positive, ...], Field(min_length=1)]
    eps: Annotated[float, Field(ge=0)]
    gating: Annotated[Literal["labels", "predicted", "off"], BareOff]  # which classes may appear
    gate_threshold: Share  # of predicted
    normalization: Literal["joint", "class"]  # what CAMs are scaled to 0..1 over: classes together, or each alone
    voting: Literal["majority", "mean", "single"]  # how scales become one label
    background: bool  # white pixels become ignore
    background_grey: Annotated[int, Field(ge=0, le=255)]
    background_min_area: Natural  # px
    flips: bool  # average the CAMs of a patch and its mirror images
    neighbours: bool  # a pixel keeps to the classes that all patches over it hold, where patches overlap
    temperatures: tuple[Positive, ...]  # of the classes, in their order: CAMs are divided by it; empty for 1 each

    def disagreements(self) -> Faults:
        """Classes that nothing gates."""
        if self.normalization == "class" and self.gating == "off":
            yield (
                "normalization",
                "class with gating off gives every patch every class, as each has its maximum somewhere; "
                "set gating to labels, or this to joint",
            )
        if self.neighbours and self.gating != "labels":
            yield "neighbours", f"narrows label sets, which gating {self.gating} does not ask; set it to false"


class ChooseSettings(Section):
    """Trying settings of pseudo-labels on the validation masks (see `wsss_mm.choosing`)."""

    enabled: bool  # false: those of pseudo_labels, whatever the masks say
    resamples: Count  # behind the intervals


class EvaluateSettings(Section):
    """Test-time augmentation and gating (METHOD.md section 5)."""

    scales: Annotated[tuple[Positive, ...], Field(min_length=1)]
    flip: bool
    gate_threshold: Share  # classes the classifier rates below are suppressed in the gated figures
    bootstrap: Count  # resamples behind the confidence intervals


def _as_field(name: str) -> Any:
    """Type and range of a parameter of slides, as a section has them."""
    setting, kind = SETTINGS[name], TYPES[name]
    if (number := number_of(kind)) is None:
        return kind
    words = choices_of(kind)
    limits = Field(ge=setting.least, le=setting.most, lt=setting.below)
    whole, real = Annotated[Natural, limits], Annotated[float, limits]
    bounded: Any = whole if number is int else real
    if not words:
        return bounded
    return bounded | Literal.__getitem__(words)


_FIELDS: Any = {name: (_as_field(name), ...) for name in TYPES}
_Parameters: Any = create_model("Parameters", __base__=Section, **_FIELDS)


class SlideSettings(_Parameters):
    """Whole-slide segmentation (METHOD.md section 6): `wsss_mm.slide_parameters.Parameters`, and of what."""

    splits: Annotated[tuple[Split, ...], Field(min_length=1)]
    precision: Precision  # auto: bf16 or fp16 on a GPU, bf16 on a CPU with AMX, else fp32

    def disagreements(self) -> Faults:
        """A confidence that is asked for and not there. Whether windows move, the segmenter's encoder tells."""
        yield from faults(Parameters.of(self).recorded(), stride=None)


def _model_name(name: str) -> str:
    if not name.strip() or len(name) > _LONGEST_NAME or any(c in "/:@'\"`" or not c.isprintable() for c in name):
        raise ValueError("is no model's name: give letters, digits, - or _, such as segmenter-lung, or null")
    return name


class RegisterSettings(Section):
    """Where the segmenter is registered: one name a task, since a champion is that of a task."""

    model_name: Annotated[str, AfterValidator(_model_name)] | None  # part of models:/NAME@ALIAS; None: nowhere


class Params(Section):
    """All of params.yaml."""

    seed: Natural
    threads: AtOnce  # CPU threads of torch, 0 for all cores
    workers: AtOnce  # data-loader processes
    cohort: CohortSettings
    patches: PatchSettings
    stain: StainSettings
    classifier: ClassifierSettings
    pseudo_labels: PseudoLabelSettings
    choose_pseudo_labels: ChooseSettings
    segmenter: SegmenterSettings
    evaluate: EvaluateSettings
    slides: SlideSettings
    gates: GateSettings
    register_: RegisterSettings = Field(alias="register")

    def disagreements(self) -> Faults:
        """What one section asks for and another does not give."""
        if self.segmenter.init == "classifier" and self.segmenter.width != self.classifier.width:
            yield (
                "segmenter.width",
                f"{self.segmenter.width} is not classifier.width {self.classifier.width}, but "
                "segmenter.init is classifier; make them equal, or set init: none",
            )
        yield from self._encoders()
        yield from self._sizes()
        if self.stain.icc and self.cohort.name not in CUT:
            yield "stain.icc", f"is for slides; {self.cohort.name} comes as patches, without profiles; set it to false"
        if self.cohort.name in CUT:
            for key, wanted in (
                ("pseudo_labels.neighbours", self.pseudo_labels.neighbours),
                ("segmenter.surroundings", self.segmenter.surroundings),
            ):
                if wanted:
                    yield (
                        key,
                        "is for data sets of patches; those cut from slides do not overlap, and their places "
                        "are px of level 0; set it to false",
                    )

    def _encoders(self) -> Faults:
        """Two encoders where one begins with the other; a layer that the classifier's has not, or the method."""
        ours, theirs = self.segmenter.encoder, self.classifier.encoder
        if self.segmenter.init == "classifier" and ours != theirs:
            yield (
                "segmenter.encoder",
                f"{ours} is not classifier.encoder {theirs}, but segmenter.init is classifier; make them equal, or set "
                "init: weights or none",
            )
        encoder, labels = get_encoder(theirs), self.pseudo_labels
        known = (*encoder.layers, LAST_LAYER)
        for layer in (labels.layer,) if isinstance(labels.layer, str) else labels.layer:
            if layer not in known:
                near = suggestion(layer, encoder.layers) or f"; choose from {', '.join(known)}"
                yield "pseudo_labels.layer", f"{theirs} has no layer {layer[:40]!r}{near}"
            elif METHODS[labels.method].any_layer is None and layer not in (encoder.last, LAST_LAYER):
                yield (
                    "pseudo_labels.layer",
                    f"method {labels.method} exists at layer {encoder.last} alone, not at {layer}",
                )
        for section in ("classifier", "segmenter"):
            yield from self._taken_by(section, get_encoder(getattr(self, section).encoder))
        if fault := hardly_moves(self.slides.window, self.slides.overlap, get_encoder(ours).stride):
            yield "slides.overlap", fault

    def _taken_by(self, section: str, encoder: Encoder) -> Faults:
        """Sizes in px that an encoder does not take."""
        size = self.patches.size
        shown = {"patches.size": size}
        scaled = "pseudo_labels" if section == "classifier" else "evaluate"
        shown |= {
            f"{scaled}.scales.{index}": round(size * scale) for index, scale in enumerate(getattr(self, scaled).scales)
        }
        if section == "segmenter":
            shown |= {"segmenter.crop": self.segmenter.crop, "slides.window": self.slides.window}
        for key, side in shown.items():
            if (fault := encoder.sizes.fault(side)) is not None:
                yield key, f"{section}.encoder {encoder.name} {fault}"

    def _sizes(self) -> Faults:
        """Sizes in px that do not fit that of patches."""
        size, crop = self.patches.size, self.segmenter.crop
        if crop > size and not self.segmenter.surroundings:
            yield (
                "segmenter.crop",
                f"{crop} px are more than patches.size {size}, so that nothing is cropped; set it to {size} or less",
            )
        for section, training in (("pseudo_labels", self.classifier), ("evaluate", self.segmenter)):
            least = get_encoder(training.encoder).stride
            for index, scale in enumerate(getattr(self, section).scales):
                shown = round(size * scale)
                if not least <= shown <= _LARGEST_SHOWN:
                    yield (
                        f"{section}.scales.{index}",
                        f"{scale:g} shows patches of {size} px to the network with {shown} px; it takes {least} to "
                        f"{_LARGEST_SHOWN}",
                    )
        phantom = self.cohort.phantom.size * _PHANTOM_MPP
        if self.cohort.name == "phantom" and size * self.patches.mpp > phantom:
            yield (
                "patches.size",
                f"{size} px at patches.mpp {self.patches.mpp:g} are more than the {phantom:g} um that the phantom's "
                "slides are wide; lower one of the two, or raise cohort.phantom.size",
            )
