"""Code beyond this package's that a stored model may be built of: what the project's own config file imports."""

import importlib
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from wsss_mm.errors import InputError
from wsss_mm.models.config_files import trusted_modules

CONFIGS = Path("mmconfigs")
"""Where a project has its config files, one a kind of model."""


@dataclass(frozen=True)
class Trust:
    """What a project trusts: the modules that its config file names in `custom_imports`.

    Attributes:
        config: The file; without it nothing is trusted.
    """

    config: Path

    @cached_property
    def modules(self) -> tuple[str, ...]:
        """Names of the modules."""
        return trusted_modules(self.config) if self.config.is_file() else ()

    def holds(self, name: str) -> bool:
        """Whether one of the modules, which are imported, registered a type of this name."""
        if not self.modules:
            return False
        self.import_modules()
        module = module_of(name)
        return module is not None and any(f"{module}.".startswith(f"{trusted}.") for trusted in self.modules)

    def import_modules(self) -> None:
        """Import them, so that they register their types.

        Raises:
            InputError: one cannot be imported.
        """
        register_stock()
        for module in self.modules:
            try:
                importlib.import_module(module)
            except Exception as error:  # the module's own code runs
                reason = " ".join(str(error).split())[:160] or type(error).__name__
                raise InputError(
                    f"{self.config}: custom_imports: {module} cannot be imported ({reason}); install its package, or "
                    "start python with PYTHONPATH=. if it lies in the project"
                ) from None


def import_own_parts() -> None:
    """Import what any of the project's config files trusts.

    Raises:
        InputError: see `Trust.import_modules`.
    """
    for config in sorted(CONFIGS.glob("*.py")):
        Trust(config).import_modules()


def register_stock() -> None:
    """Register mmseg's parts, and this package's head of their kind; the others registered when it was imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mmcv's, on compiled operators that nothing here needs
        import mmseg.models  # noqa: F401

        import wsss_mm.models.guided_head  # noqa: F401  a head of mmseg's kind


def module_of(name: object) -> str | None:
    """The module of the one class that a registry holds under a name; nothing is imported to find it."""
    from mmengine.registry import MODELS as ROOT

    if not isinstance(name, str):
        return None
    scope, _, bare = name.rpartition(".")
    registries: list[Any] = [ROOT, *ROOT.children.values()]
    held = [item.module_dict[bare] for item in registries if bare in item.module_dict and scope in ("", item.scope)]
    return held[0].__module__ if len(set(map(id, held))) == 1 else None
