"""Encoders of timm as backbones; timm is an extra, imported when one of them is built."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from wsss_mm.errors import InputError
from wsss_mm.models.foreign import ForeignBackbone, Stages, quarters
from wsss_mm.registry import MODELS

_NEEDS = "timm builds it, and cannot be imported here ({reason}); it needs torchvision of the same build as torch: pip "
_NEEDS += "install 'wsss-mm[timm]'"
_FOREIGN = ("pretrained", "checkpoint_path", "pretrained_cfg", "cache_dir", "features_only", "num_classes")
"""Arguments of timm's that fetch files, or change what the network gives."""


@MODELS.register_module()
class TimmBackbone(ForeignBackbone):
    """A network of timm as timm calls it, such as `vit_large_patch16_224`, see `ForeignBackbone`.

    Of a vision transformer the stages are those after each quarter of its blocks, normalised as the last one is;
    `stage12` is what twelve blocks make. Class and register tokens are dropped, position embeddings are interpolated
    for other sizes. Of other networks the stages are all they have. `mlp_layer: SwiGLUPacked` and `act_layer: SiLU`
    name the two parts of a network that numbers cannot.
    """

    @classmethod
    def _built(cls, architecture: str, arguments: dict[str, Any]) -> tuple[nn.Module, Stages]:
        net = _network(architecture, arguments)
        return net, {f"stage{index + 1}": given for index, given in _stages(net).items()}

    def _made_ready(self) -> None:
        self._indices = {f"stage{index + 1}": index for index in _stages(self.net)}
        self.prefix_tokens = getattr(self.net, "num_prefix_tokens", 0)
        if self.with_checkpointing:
            self.net.set_grad_checkpointing(True)

    def init_weights(self) -> None:
        """Nothing: the network drew its weights when it was made."""
        self._is_init = True

    def _stem(self) -> Iterator[nn.Module]:
        for name in ("patch_embed", "stem", "conv1", "bn1", "conv_stem"):
            if isinstance(getattr(self.net, name, None), nn.Module):
                yield getattr(self.net, name)

    def _maps_of_padded(self, images: Tensor, wanted: Collection[str]) -> Mapping[str, Tensor]:
        names = [name for name in self._indices if name in wanted]
        maps = self.net.forward_intermediates(
            images,
            indices=[self._indices[name] for name in names],
            norm=True,
            output_fmt="NCHW",
            intermediates_only=True,
        )
        return {name: item.contiguous() for name, item in zip(names, maps, strict=True)}


def _stages(net: Any) -> dict[int, tuple[int, int]]:
    """(Channels, stride) of the feature maps that are stages, by their number in the network."""
    given = [(item["num_chs"], item["reduction"]) for item in net.feature_info]
    indices = quarters(len(given)) if hasattr(net, "blocks") and hasattr(net, "pos_embed") else range(len(given))
    return {index: given[index] for index in indices}


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
