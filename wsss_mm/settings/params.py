"""params.yaml as typed, frozen settings: types, ranges and meaning of every knob, and which of them fit each other."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, create_model

from wsss_mm.cam_methods import LAST_LAYER, METHODS
from wsss_mm.encoders import DEFAULT, Encoder, encoders, get_encoder, hardly_moves
from wsss_mm.encoders import absent as absent_encoder
from wsss_mm.places import (
    CLASSIFIER,
    COHORT,
    MAPS,
    PATCHES,
    PRETRAINED,
    PSEUDO_LABELS,
    PUBLISHED,
    REPORTS,
    RESULTS,
    SEGMENTER,
)
from wsss_mm.settings.gates import GateSettings
from wsss_mm.settings.sections import (
    AtOnce,
    BareOff,
    BelowOne,
    Count,
    Faults,
    Natural,
    Positive,
    Section,
    Share,
    one_of,
)
from wsss_mm.slide_parameters import SETTINGS, TYPES, Parameters, choices_of, faults, number_of
from wsss_mm.sources import SOURCES
from wsss_mm.vocabulary import Split, absent, get_vocabulary, vocabulary_names
from wsss_mm.yaml_places import suggestion

Precision = Literal["fp32", "bf16", "fp16", "auto"]

_LONGEST_NAME = 200
_PHANTOM = Path("wsss_mm/slides/phantom")  # the generator's own code, which DVC watches
_PHANTOM_MPP = 0.5  # um/px of its slides
_LARGEST_SHOWN = 4096  # px, side of what a network is shown
_WIDTH = 0.125  # what stands there where it means nothing: with another encoder than resnet38
_WANTED = {"train": "learnt from", "test": "judged on"}
_MADE = (COHORT, PATCHES, PSEUDO_LABELS, MAPS, CLASSIFIER, SEGMENTER, REPORTS, RESULTS)  # by stages
_CUT = ("phantom", "slides")  # cohorts of slides; the others are data sets of patches


class PhantomSettings(Section):
    """The generated cohort (see `wsss_mm.slides.phantom`)."""

    slides: dict[Split, Count]
    size: Annotated[Natural, Field(ge=1024, le=2**16)]  # px at 0.5 mpp, width and height of a slide


def _known_vocabulary(name: str) -> str:
    if name not in vocabulary_names():
        raise ValueError(absent(name))
    get_vocabulary(name)  # names the line of what is wrong in it
    return name


def _named(path: Path) -> Path:
    """A file or folder that DVC watches."""
    if path == Path() or not path.name.strip() or not str(path).isprintable():
        raise ValueError("names no file or folder; give the path of one")
    return path


WatchedPath = Annotated[Path, AfterValidator(_named)]


def _lies_in(folder: Path, path: Path) -> bool:
    inside, outer = (Path(os.path.normpath(Path.cwd() / item)) for item in (path, folder))  # links keep their names
    return inside.is_relative_to(outer)


def _of_the_line(path: Path) -> str | None:
    """What to say of a path to the user's own data, which DVC reads, where stages write what they make."""
    if (made := next((folder for folder in _MADE if _lies_in(folder, path)), None)) is not None:
        return f"{path} is made by the line, which replaces it; name your own, outside of {made}"
    if (made := next((folder for folder in _MADE if _lies_in(path, folder)), None)) is not None:
        return f"{path} holds {made}, which the line makes, so that DVC is never done; name your own data alone"
    return None


class CohortSettings(Section):
    """Where slides or labelled patches come from."""

    name: Annotated[str, one_of(("phantom", *SOURCES, "slides"))]
    source: WatchedPath  # folder of patches, table of slides, or the generator's own code
    labels: Annotated[Path, AfterValidator(_named)]  # table of labelled patches; it may hold none
    vocabulary: Annotated[str, AfterValidator(_known_vocabulary)]  # name of a file in vocabularies/
    phantom: PhantomSettings

    def disagreements(self) -> Faults:
        """The source of another cohort; splits that later stages ask for."""
        for split, why in _WANTED.items():
            if self.name == "phantom" and split not in self.phantom.slides:
                yield "phantom.slides", f"has no {split}: such slides are {why}; give their number"
        for key in ("source", "labels"):
            if (says := _of_the_line(getattr(self, key))) is not None:
                yield key, says
        ends = self.source.parts[-len(_PHANTOM.parts) :] == _PHANTOM.parts
        if self.name == "phantom" and not ends:
            yield (
                "source",
                f"{self.source} is read by no cohort that is generated; set cohort.name to what it holds, or this to "
                f"{_PHANTOM.as_posix()}",
            )
        if self.name != "phantom" and ends:
            yield "source", f"is the code of the phantom, but cohort.name is {self.name}; give where that one lies"


class PatchSettings(Section):
    """How slides are cut, and which patch counts as labelled with a class."""

    mpp: Positive  # um/px
    size: Annotated[Natural, Field(ge=32)]  # px
    min_tissue: Share  # patches with less tissue are left out
    min_class_share: Share  # a class below this share of a patch is not seen by whoever labels it (phantom only)
    valid_share: Share  # share of the training groups held out where a cohort comes without a validation split


class StainSettings(Section):
    """What is done about stains that differ from slide to slide (see `wsss_mm.slides.stain`)."""

    normalization: Literal["none", "macenko", "reinhard"]  # of what networks are shown


def _in_pretrained(weights: Path) -> Path:
    if weights.parts == ("None",):
        raise ValueError("is text; for no weights, write null")
    if weights.parts != (weights.name,) or weights.name == "..":
        raise ValueError(
            f"DVC watches no weights outside of {PRETRAINED}/: put the file there, and give its name alone: "
            f"{weights.name or 'NAME'}"
        )
    return weights


def _known_encoder(name: str) -> str:
    if name not in encoders():  # which names the line of what is wrong in the file
        raise ValueError(absent_encoder(name))
    return name


class TrainingSettings(Section):
    """What both trainings have."""

    encoder: Annotated[str, AfterValidator(_known_encoder)]  # its name in encoders.yaml
    width: Annotated[Positive, Field(le=4)]  # of resnet38; 1: as published
    weights: Annotated[Path, AfterValidator(_in_pretrained)] | None  # a file in pretrained/, or the published one
    freeze: Literal["none", "stem", "all"]  # which parts of the encoder do not learn
    encoder_lr: Positive  # times lr: learning rate of the encoder
    batch_size: Count
    accumulate: Count  # equal pieces a mini-batch is worked off in: less memory, the same schedule
    precision: Precision  # of convolutions; auto: bf16 or fp16 on a GPU, fp32 on a CPU
    optimizer: Literal["sgd", "adamw"]
    lr: Positive
    momentum: BelowOne  # of SGD
    weight_decay: Annotated[float, Field(ge=0)]
    warmup: BelowOne  # share of the training in which the learning rate rises
    poly_power: Positive
    averaging: BelowOne  # decay of a running mean of the weights, 0 for none
    rotate: bool  # quarter turns beside the flips
    scale_jitter: tuple[Positive, Positive]  # range of a random zoom
    color_jitter: BelowOne  # photometric distortion: stains vary by this share
    elastic: Annotated[float, Field(ge=0)]  # px, random deformation
    focus_jitter: tuple[Positive, Positive]  # range of a factor that fine detail is multiplied by

    def begins_with(self) -> list[Path]:
        """The files in pretrained/ that DVC watches for the training: one or none."""
        return [] if self.weights is None else [PRETRAINED / self.weights]

    def disagreements(self) -> Faults:
        """Pieces that are not equal, a zoom that is no range, weights of another width."""
        if self.batch_size % self.accumulate:
            yield "accumulate", f"batch_size {self.batch_size} must be a multiple of accumulate {self.accumulate}"
        for name in ("scale_jitter", "focus_jitter"):
            low, high = getattr(self, name)
            if low > high:
                yield name, f"[{low}, {high}] is no range; give the smaller number first"
        yield from self._encoder_agrees()

    def _encoder_agrees(self) -> Faults:
        """Weights of another width, a width that means nothing, an encoder that never learnt anything."""
        if self.encoder == DEFAULT:
            if self.weights is not None and self.width != 1:
                yield (
                    "weights",
                    f"are of the full network, but width is {self.width}; set width: 1 or weights: null",
                )
        elif self.width != _WIDTH:
            yield "width", f"is of {DEFAULT} alone, {self.encoder} has one size; set it to {_WIDTH}"
        if self.weights == Path(PUBLISHED) and get_encoder(self.encoder).file is None:
            yield "weights", f"{self.encoder} has no published file in encoders.yaml; name one there, or set null"
        if self.freeze != "none" and not self.learnt_before():
            yield "freeze", f"{self.freeze} keeps weights that never learnt anything; name weights, or set it to none"

    def learnt_before(self) -> bool:
        """Whether the encoder begins with weights."""
        return self.weights is not None


class ClassifierSettings(TrainingSettings):
    """Training of the multi-label patch classifier (METHOD.md section 2)."""

    members: Annotated[Count, Field(le=5)]  # classifiers of further seeds, whose activation maps are averaged
    attention: Annotated[Literal["off", "published"], BareOff]
    dropout: BelowOne
    epochs: Count


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


class SegmenterSettings(TrainingSettings):
    """Training of the segmenter (METHOD.md section 4)."""

    init: Literal["classifier", "weights", "none"]  # what the backbone starts from
    loss: Literal["onss", "onss_margin", "ce"]
    iterations: Count
    crop: Annotated[Natural, Field(ge=32)]  # px
    surroundings: bool  # crops reach beyond the patch, into those of its slide that lie around
    mosaic: Share  # of the samples: four crops in one
    decoder: Literal["psp", "guided"]
    auxiliary_stage: str | None  # of the encoder; None: the third from its last
    auxiliary_weight: Annotated[float, Field(ge=0)]
    val_interval: Count  # iterations
    cycle: Count | None  # iterations of one rise and fall of the learning rate; null for one over the whole training
    patience: Count  # cycles in a row that may bring nothing better before the training ends
    loss_warmup: BelowOne  # share of the first cycle that is plain cross-entropy, before noise is suppressed

    def begins_with(self) -> list[Path]:
        """See `TrainingSettings.begins_with`; none with another `init`."""
        return super().begins_with() if self.init == "weights" else []

    def learnt_before(self) -> bool:
        """See `TrainingSettings.learnt_before`."""
        return self.init == "classifier" or (self.init == "weights" and self.weights is not None)

    def disagreements(self) -> Faults:
        """Weights to start from that are not named; pieces that batch normalisation cannot learn from."""
        yield from super().disagreements()
        if self.batch_size == self.accumulate:
            yield (
                "accumulate",
                f"leaves one crop of batch_size {self.batch_size} to a piece, and batch normalisation of the pooled "
                "crop needs two; halve it, or raise batch_size",
            )
        stages = tuple(get_encoder(self.encoder).stages)[:-1]
        if self.auxiliary_stage is not None and self.auxiliary_stage not in stages:
            near = suggestion(self.auxiliary_stage, stages) or f"; choose from {', '.join(stages)}"
            yield "auxiliary_stage", f"{self.encoder} has no stage {self.auxiliary_stage[:40]!r} below its last{near}"
        if self.cycle is not None:
            if self.iterations % self.cycle:
                yield "iterations", f"{self.iterations} must be a multiple of cycle {self.cycle}"
            if self.cycle % self.val_interval:
                yield (
                    "val_interval",
                    f"{self.val_interval} does not divide cycle {self.cycle}, whose end is validated; lower it",
                )
        if self.init == "weights" and self.weights is None:
            yield "weights", "init is weights, but weights is null; give their path"


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
        """Windows that hardly move; a confidence that is asked for and not there."""
        yield from faults(Parameters.of(self).recorded())


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
        if self.cohort.name in _CUT:
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
        windows = self.slides.window, self.slides.overlap
        if (fault := hardly_moves(*windows, get_encoder(ours).stride)) and hardly_moves(*windows) is None:
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
