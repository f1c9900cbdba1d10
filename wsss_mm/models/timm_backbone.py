"""Encoders of timm as backbones; timm is an extra, imported when one of them is built."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from wsss_mm.errors import InputError
from wsss_mm.models.backbones.protocol import Backbone, Freeze
from wsss_mm.models.safetensors_files import published_weights
from wsss_mm.models.tokens import fitted, pad_to, quarters
from wsss_mm.models.weight_files import load_checked, shapes_in
from wsss_mm.registry import MODELS

_NEEDS = "timm builds it, and cannot be imported here ({reason}); it needs torchvision of the same build as torch: pip "
_NEEDS += "install 'wsss-mm[timm]'"
_FOREIGN = ("pretrained", "checkpoint_path", "pretrained_cfg", "cache_dir", "features_only", "num_classes")
"""Arguments of timm's that fetch files, or change what the network gives."""


@MODELS.register_module()
class TimmBackbone(Backbone):
    """A network of timm, built by architecture and arguments; its files are read by this package alone.

    Of a vision transformer the stages are those after each quarter of its blocks, normalised as the last one is;
    `stage12` is what twelve blocks make. Class and register tokens are dropped, position embeddings are interpolated
    for other sizes, and other images are padded as in `TokenBackbone`. Of other networks the stages are all they have.

    Args:
        architecture: As timm calls it, such as `vit_large_patch16_224`.
        arguments: Of it. `mlp_layer: SwiGLUPacked` and `act_layer: SiLU` name the two parts that numbers cannot.
        out_stages: See `Backbone`.
        freeze: Which parts rest, see `Backbone.freeze`.
        activate: Whether the last stage loses what is negative: Grad-CAM++ has a closed form over what is not.
        with_checkpointing: See `Backbone`.
        init_cfg: mmengine initialisation.
    """

    def __init__(
        self,
        architecture: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        out_stages: Sequence[str] | None = None,
        freeze: Freeze = "none",
        activate: bool = True,
        with_checkpointing: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        net = _network(architecture, dict(arguments or {}))
        given = [(item["num_chs"], item["reduction"]) for item in net.feature_info]
        indices = quarters(len(given)) if hasattr(net, "blocks") and hasattr(net, "pos_embed") else range(len(given))
        self._indices = {f"stage{index + 1}": index for index in indices}
        super().__init__(
            {name: given[index] for name, index in self._indices.items()},
            out_stages=out_stages,
            with_checkpointing=with_checkpointing,
            init_cfg=init_cfg,
        )
        self.architecture, self.activate = architecture, activate
        self.size_multiple = given[-1][1]
        self.net: Any = net
        self.prefix_tokens = getattr(net, "num_prefix_tokens", 0)
        if with_checkpointing:
            net.set_grad_checkpointing(True)
        self.freeze(freeze)

    def init_weights(self) -> None:
        """Nothing: the network drew its weights when it was made."""
        self._is_init = True

    def _stem(self) -> Iterator[nn.Module]:
        for name in ("patch_embed", "stem", "conv1", "bn1", "conv_stem"):
            if isinstance(getattr(self.net, name, None), nn.Module):
                yield getattr(self.net, name)

    def _maps(self, images: Tensor, wanted: Collection[str]) -> dict[str, Tensor]:
        padded, shares = pad_to(images, self.size_multiple)
        names = [name for name in self._indices if name in wanted]
        maps = self.net.forward_intermediates(
            padded,
            indices=[self._indices[name] for name in names],
            norm=True,
            output_fmt="NCHW",
            intermediates_only=True,
        )
        found = {name: item.contiguous() for name, item in zip(names, maps, strict=True)}
        return fitted(found, wanted, shares, self.last if self.activate else None)

    def load_pretrained(self, path: Path | str, sha256: str | None = None) -> None:
        """Begin with the weights of a file as their owner publishes it: safetensors, or a plain state dict.

        Args:
            path: The file.
            sha256: Which it must have; None for any.

        Raises:
            InputError: it is missing, damaged, another one, or of another network.
        """
        state = published_weights(path, shapes_in(self.net.state_dict()), sha256, self.architecture)
        load_checked(self.net, state, path, self.architecture)


def _network(architecture: str, arguments: dict[str, Any]) -> Any:
    try:
        import timm
        from timm.layers import SwiGLUPacked
    except Exception as error:  # torchvision of another build than torch raises what it likes
        reason = " ".join(str(error).split())[:80]
        raise InputError(f"encoder {architecture}: {_NEEDS.format(reason=reason)}") from None
    if foreign := [name for name in arguments if name in _FOREIGN]:
        raise ValueError(f"argument {foreign[0]} of {architecture} is none of a backbone's")
    if architecture not in timm.list_models() or ":" in architecture:
        raise ValueError(f"timm has no architecture {architecture!r}")
    parts = {"SwiGLUPacked": SwiGLUPacked, "SiLU": nn.SiLU, "GELU": nn.GELU}
    if unknown := [value for value in arguments.values() if isinstance(value, str) and value not in parts]:
        raise ValueError(f"{unknown[0]!r} is none of {', '.join(parts)}")
    plain = {name: parts[value] if isinstance(value, str) else value for name, value in arguments.items()}
    if architecture.startswith("vit_"):
        plain = {"dynamic_img_size": True, **plain}
    return timm.create_model(architecture, pretrained=False, num_classes=0, **plain)
