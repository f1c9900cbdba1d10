"""params.yaml and gates.yaml as typed, frozen settings: every knob and threshold, checked before anything runs.

The files hold the values and dvc.yaml names what each stage depends on; this room only gives them types, ranges and
meaning. No default is repeated here, so that the files stay the one place to look.
"""

from wsss_mm.settings.cohort import CohortSettings, PhantomSettings
from wsss_mm.settings.gates import (
    ClassifierGate,
    CohortGate,
    Gate,
    GateSettings,
    PatchesGate,
    PseudoLabelsGate,
    SegmenterGate,
    SlidesGate,
    check_names,
)
from wsss_mm.settings.params import (
    ChooseSettings,
    EvaluateSettings,
    Params,
    PatchSettings,
    PseudoLabelSettings,
    RegisterSettings,
    SlideSettings,
)
from wsss_mm.settings.profiles import (
    load_profile,
    profile_names,
    profile_summaries,
    render_gates,
    render_profile,
    write_imported,
    write_profile,
)
from wsss_mm.settings.reading import GATES_FILE, PARAMS_FILE, checked, load_params, refuse
from wsss_mm.settings.sections import Section
from wsss_mm.settings.trainings import ClassifierSettings, Precision, SegmenterSettings, TrainingSettings

__all__ = [
    "GATES_FILE",
    "PARAMS_FILE",
    "ChooseSettings",
    "ClassifierGate",
    "ClassifierSettings",
    "CohortGate",
    "CohortSettings",
    "EvaluateSettings",
    "Gate",
    "GateSettings",
    "Params",
    "PatchSettings",
    "PatchesGate",
    "PhantomSettings",
    "Precision",
    "PseudoLabelSettings",
    "PseudoLabelsGate",
    "RegisterSettings",
    "Section",
    "SegmenterGate",
    "SegmenterSettings",
    "SlideSettings",
    "SlidesGate",
    "TrainingSettings",
    "check_names",
    "checked",
    "load_params",
    "load_profile",
    "profile_names",
    "profile_summaries",
    "refuse",
    "render_gates",
    "render_profile",
    "write_imported",
    "write_profile",
]
