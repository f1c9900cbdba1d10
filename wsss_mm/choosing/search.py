"""Trying settings of pseudo-labels on validation windows, one element after another."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from wsss_mm.cam import PseudoLabeller
from wsss_mm.cam.layers import is_last, last_layer, unit_names
from wsss_mm.cam.pseudo_label import ClassEvidence
from wsss_mm.cam_methods import METHODS
from wsss_mm.choosing.choice import TriedSetting
from wsss_mm.choosing.rules import LEAST_UNITS
from wsss_mm.choosing.windows import Windows
from wsss_mm.evaluation.bootstrap import paired_interval
from wsss_mm.evaluation.confusion import confusion_matrix, confusion_metrics, label_set_confusion
from wsss_mm.inference.runtime import arithmetic, choose_precision
from wsss_mm.models import PatchClassifier
from wsss_mm.vocabulary import IGNORE

logger = logging.getLogger(__name__)

LEAST_GAIN = 0.01
"""Of mIoU: less is a tie, however sure, and the published setting stays."""

_BATCH = 32
_SPARSE = 4  # px between those that temperatures are fitted on
_STEPS = (0.5, 0.63, 0.8, 1.25, 1.6, 2.0)  # temperatures that are tried for a class, times that of before
_RANGE = (0.4, 2.5)
_ROUNDS = 2

ELEMENTS: Mapping[str, Sequence[Any]] = {
    "normalization": ("joint", "class"),
    "neighbours": (False, True),
    "method": tuple(METHODS),
    "scales": ((1.0,), (0.75, 1.0, 1.25), (0.5, 1.0, 1.5)),
    "voting": ("majority", "mean"),
    "flips": (False, True),
}
"""What is tried, in this order; after the method, layers, see `deeper`."""

_CHEAP = 1200  # windows times classes: of more, no layers are tried, whose maps need a backward pass for each class


@dataclass(frozen=True)
class SearchResult:
    """What a search found: `settings`, what it tried, and the mIoU before and after."""

    settings: dict[str, Any]
    trials: tuple[TriedSetting, ...]
    before: float
    after: float
    unit: str
    units: int

    @property
    def few(self) -> bool:
        """Whether there are too few units for their masks to decide alone."""
        return self.units < LEAST_UNITS


class Search:
    """Tries settings on windows; what the classifier shows of them is computed once a scale."""

    def __init__(
        self,
        model: PatchClassifier,
        windows: Windows,
        codes: Sequence[str],
        *,
        resamples: int,
        seed: int,
        called_for: Mapping[str, Any] | None = None,
        others: Sequence[PatchClassifier] = (),
    ) -> None:
        """Nothing is tried yet.

        Args:
            model: what the class activation maps are of.
            windows: with masks, see `validation_windows`.
            codes: of the classes.
            resamples: draws behind an interval.
            seed: of the draws.
            called_for: what label sets call for, see `wsss_mm.choosing.rules.called_for`: all that may be taken where
                there are fewer than `LEAST_UNITS` patients.
            others: see `PseudoLabeller`.
        """
        self._model, self._others, self._windows, self._codes = model, tuple(others), windows, tuple(codes)
        self._resamples, self._seed, self._called_for = resamples, seed, dict(called_for or {})
        names, self._units = np.unique(windows.patients, return_inverse=True)
        self.unit = "patient" if len(names) < len(np.unique(windows.slides)) else "slide"
        self.units, self._few = len(names), len(names) < LEAST_UNITS
        self._shown: dict[tuple[Any, ...], list[ClassEvidence]] = {}
        self._white: npt.NDArray[np.bool_] | None = None

    def run(self, settings: Mapping[str, Any]) -> SearchResult:
        """Try each element against what was chosen until then; keep what is clearly better.

        Args:
            settings: of `PseudoLabeller` but the classifiers, to begin with: ties go to them.
        """
        chosen, trials = dict(settings), []
        counts = first = self._counts(chosen)
        for element, values in tqdm(list(self._elements(chosen)), "choose pseudo-labels", unit="element"):
            tried = []
            for value in values:
                if value == _plain(chosen[element]) or (element == "layer" and self._are_last(value, chosen[element])):
                    continue
                if element == "layer" and METHODS[chosen["method"]].any_layer is None:
                    continue
                own = self._counts({**chosen, element: value})
                tried.append((self._trial(element, value, counts, own), own))
            chosen, counts = self._take(tried, chosen, counts, trials)
        if not self._few:  # label sets call for no temperatures, and halves of so few slides fit none
            tried = [self._temperatures(chosen, counts)]
            chosen, counts = self._take(tried, chosen, counts, trials)
        return SearchResult(chosen, tuple(trials), self._miou(first), self._miou(counts), self.unit, self.units)

    def _take(
        self,
        tried: Sequence[tuple[TriedSetting, npt.NDArray[np.int64]]],
        chosen: dict[str, Any],
        counts: npt.NDArray[np.int64],
        trials: list[TriedSetting],
    ) -> tuple[dict[str, Any], npt.NDArray[np.int64]]:
        better = [pair for pair in tried if pair[0].verdict == "better"]
        best = max(better, key=lambda pair: pair[0].miou, default=None)
        for pair in tried:
            trials.append(replace(pair[0], taken=pair is best))
        if best is None:
            return chosen, counts
        logger.info("%s: %s has %.3f, %+.3f", best[0].element, best[0].value, best[0].miou, best[0].gain)
        return {**chosen, best[0].element: best[0].value}, best[1]

    def _elements(self, settings: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[Any]]]:
        for element, values in ELEMENTS.items():
            if element == "neighbours" and (self._windows.places is None or settings["gating"] != "labels"):
                continue
            if element == "normalization" and settings["gating"] == "off":
                continue
            if element == "method" and not is_last(self._model, settings["layer"]):
                yield element, [name for name in values if METHODS[name].any_layer]
            else:
                yield element, values
            if element == "method" and len(self._windows) * len(self._codes) <= _CHEAP:
                yield "layer", deeper(self._model)

    def _are_last(self, *layers: str | Sequence[str]) -> bool:
        return all(is_last(self._model, layer) for layer in layers)

    # -- one setting -----------------------------------------------------------------------------------------------

    def _labeller(self, settings: Mapping[str, Any]) -> PseudoLabeller:
        return PseudoLabeller(self._model, others=self._others, **settings)

    def _parts(self) -> Iterator[slice]:
        for start in range(0, len(self._windows), _BATCH):
            yield slice(start, start + _BATCH)

    def _evidence(self, labeller: PseudoLabeller, scale: float) -> list[ClassEvidence]:
        """What the classifier shows of all windows at a scale, a batch each."""
        if (key := self._key(labeller, labeller.method, scale)) not in self._shown:
            pooled = is_last(self._model, labeller.layer)
            methods = tuple(METHODS) if pooled else (labeller.method,)  # a forward pass serves all
            device = labeller.device
            with arithmetic(device, choose_precision("auto", device, "patches")):  # as pseudo-labels are made
                found = [
                    labeller.evidence_by_method(self._windows.images[part], scale, methods) for part in self._parts()
                ]
            for name in methods:
                self._shown[self._key(labeller, name, scale)] = [by_method[name] for by_method in found]
        return self._shown[key]

    @staticmethod
    def _key(labeller: PseudoLabeller, method: str, scale: float) -> tuple[Any, ...]:
        averaged = labeller.normalization if labeller.others else None  # of several, each is scaled before the mean
        return scale, labeller.flips, method, _plain(labeller.layer), labeller.eps, averaged

    def _background(self, labeller: PseudoLabeller) -> npt.NDArray[np.bool_]:
        if self._white is None:
            self._white = np.concatenate([labeller.background_of(self._windows.images[part]) for part in self._parts()])
        return self._white

    def _counts(self, settings: Mapping[str, Any]) -> npt.NDArray[np.int64]:
        """(U, C, C) confusion matrices over the pixels with a pseudo-label and a truth, a unit each."""
        labeller = self._labeller(settings)
        shown = [self._evidence(labeller, scale) for scale in labeller.shown_at()]
        white, size = self._background(labeller), len(self._codes)
        summed = np.zeros((self.units, size, size), dtype=np.int64)
        for number, part in enumerate(self._parts()):
            allowed = self._windows.allowed(part, labeller.neighbours)
            evidence = [batches[number] for batches in shown]
            labels = labeller.label(self._windows.images[part], allowed, evidence, white[part]).labels
            for unit, truth, given in zip(self._units[part], self._windows.masks[part], labels, strict=True):
                known = (truth != IGNORE) & (given != IGNORE)
                summed[unit] += confusion_matrix(truth[known], given[known], size)
        return summed

    def _miou(self, counts: npt.NDArray[np.int64]) -> float:
        return float(confusion_metrics(counts.sum(axis=0), self._codes)["miou"])

    def _trial(
        self, element: str, value: Any, before: npt.NDArray[np.int64], own: npt.NDArray[np.int64]
    ) -> TriedSetting:
        if self._few:  # what each of them says: an interval would claim to know of others
            pairs = zip(before, own, strict=True)
            gains = np.nan_to_num(
                [self._miou(after[None]) - self._miou(first[None]) for first, after in pairs]
            ).tolist()
            low, high = min(gains), max(gains)
        else:
            low, high = paired_interval(before, own, self._codes, resamples=self._resamples, seed=self._seed)
        miou = self._miou(own)
        gain = miou - self._miou(before)
        supported = not self._few or (element in self._called_for and self._called_for[element] == value)
        verdict = "cannot tell"
        if low > 0 and gain >= LEAST_GAIN and supported:
            verdict = "better"
        elif high < 0 and not self._few:
            verdict = "worse"
        return TriedSetting(element, value, round(miou, 6), round(gain, 6), round(low, 6), round(high, 6), verdict)

    # -- temperatures ----------------------------------------------------------------------------------------------

    def _temperatures(
        self, settings: Mapping[str, Any], before: npt.NDArray[np.int64]
    ) -> tuple[TriedSetting, npt.NDArray[np.int64]]:
        """Temperatures of the classes; judged on units that they were not fitted on."""
        order = np.random.default_rng(self._seed).permutation(self.units)
        half = np.isin(self._units, order[: self.units // 2])
        own = np.zeros_like(before)
        for fitted_on in (half, ~half):
            fitted = self._fitted(settings, fitted_on)
            counts = self._counts({**settings, "temperatures": fitted})
            held_out = np.unique(self._units[~fitted_on])
            own[held_out] = counts[held_out]
        values = self._fitted(settings, np.ones_like(half))
        return self._trial("temperatures", values, before, own), own

    def _fitted(self, settings: Mapping[str, Any], among: npt.NDArray[np.bool_]) -> tuple[float, ...]:
        """The temperatures that give the best mIoU on some of the windows, by coordinate ascent on every fourth px."""
        sparse = self._sparse(settings, among)
        current = list(settings["temperatures"]) or [1.0] * len(self._codes)
        best = sparse.miou(current)
        for _ in range(_ROUNDS):
            before = best
            for index in range(len(current)):
                for step in _STEPS:
                    value = round(min(max(current[index] * step, _RANGE[0]), _RANGE[1]), 3)
                    tried = [*current[:index], value, *current[index + 1 :]]
                    if (miou := sparse.miou(tried)) > best + 1e-4:
                        best, current = miou, tried
            if best <= before:
                break
        return tuple(current)

    def _sparse(self, settings: Mapping[str, Any], among: npt.NDArray[np.bool_]) -> "_Sparse":
        labeller = self._labeller({**settings, "temperatures": ()})
        shown = [self._evidence(labeller, scale) for scale in labeller.shown_at()]
        white, size = self._background(labeller), self._windows.images.shape[1:3]
        cams, allowed, truths = [], [], []
        grid = (..., slice(_SPARSE // 2, None, _SPARSE), slice(_SPARSE // 2, None, _SPARSE))
        for number, part in enumerate(self._parts()):
            kept = among[part]
            maps = torch.stack([labeller.normalised(batches[number].maps, size)[grid] for batches in shown])
            permitted = self._windows.allowed(part, labeller.neighbours)
            permitted = permitted[..., None, None] if permitted.ndim == 2 else permitted[grid]
            permitted = np.broadcast_to(permitted, (*permitted.shape[:2], *maps.shape[-2:]))
            truth = np.where(white[part], IGNORE, self._windows.masks[part])[grid]
            cams.append(maps.movedim(0, 1).cpu().numpy()[kept])  # (N, S, C, h, w)
            allowed.append(permitted[kept])
            truths.append(truth[kept])
        maps = np.concatenate(cams)
        truth = np.concatenate(truths)
        known = (truth != IGNORE) & np.concatenate(allowed).any(axis=1)
        # px first: (P, S, C), (P, C), (P,)
        return _Sparse(
            np.moveaxis(maps, (1, 2), (-2, -1))[known],
            np.moveaxis(np.concatenate(allowed), 1, -1)[known],
            truth[known],
            labeller.voting,
            self._codes,
        )


@dataclass(frozen=True)
class _Sparse:
    """Pixels that temperatures are fitted on: CAMs (P, S, C) of S scales, allowed classes (P, C), truths (P,)."""

    cams: npt.NDArray[np.float32]
    allowed: npt.NDArray[np.bool_]
    truth: npt.NDArray[np.uint8]
    voting: str
    codes: tuple[str, ...]

    def miou(self, temperatures: Sequence[float]) -> float:
        """Of the pseudo-labels; scales are averaged, or vote by how many of them have a class for their strongest."""
        cams = self.cams / np.asarray(temperatures, dtype=np.float32)
        if self.voting == "mean":
            cams = cams.mean(axis=1, keepdims=True)
        winners = np.where(self.allowed[:, None], cams, -1).argmax(axis=2)  # (P, S)
        votes = (winners[:, :, None] == winners[:, None, :]).sum(axis=2)
        labels = winners[np.arange(len(winners)), votes.argmax(axis=1)]  # ties: the earliest scale
        size = len(self.codes)
        return float(confusion_metrics(confusion_matrix(self.truth, labels, size), self.codes)["miou"])


def labels_alone(windows: Windows, codes: Sequence[str]) -> float:
    """The mIoU of `label_set_confusion` on windows: what is no better has learnt nothing from pictures."""
    pixels = [np.bincount(truth.ravel(), minlength=256)[: len(codes)] for truth in windows.masks]
    return float(confusion_metrics(label_set_confusion(pixels, windows.label_sets), codes)["miou"])


def deeper(model: PatchClassifier) -> tuple[str | tuple[str, ...], ...]:
    """Layers that are tried: that under the pooling, the last of the two stages before it, and their fusions."""
    if not hasattr(model, "backbone"):
        return ()
    of_stages = {name.partition("_")[0]: name for name in unit_names(model)[:-1]}  # the last unit of each
    second, first = [*of_stages.values()][-3:-1] if len(of_stages) > 2 else (None, None)
    if first is None or second is None:
        return ()
    last = last_layer(model)
    return (last, first, second, (last, first), (last, first, second))


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
