"""How timm lays out its vision transformers: names and shapes of their arrays, told without timm.

Files of encoders are held against it where timm is not installed, and before anything of them is read.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from wsss_mm.models.weight_files import Shapes

_SIZES = {
    "vit_small_patch16_224": {"patch_size": 16, "embed_dim": 384, "depth": 12},
    "vit_small_patch8_224": {"patch_size": 8, "embed_dim": 384, "depth": 12},
    "vit_base_patch16_224": {"patch_size": 16, "embed_dim": 768, "depth": 12},
    "vit_base_patch8_224": {"patch_size": 8, "embed_dim": 768, "depth": 12},
    "vit_large_patch16_224": {"patch_size": 16, "embed_dim": 1024, "depth": 24},
    "vit_huge_patch14_224": {"patch_size": 14, "embed_dim": 1280, "depth": 32},
    "vit_giant_patch14_224": {"patch_size": 14, "embed_dim": 1408, "depth": 40, "mlp_ratio": 48 / 11},
    "vit_giant_patch14_reg4_dinov2": {
        "patch_size": 14,
        "embed_dim": 1536,
        "depth": 40,
        "init_values": 1e-5,
        "mlp_ratio": 2.66667 * 2,
        "mlp_layer": "SwiGLUPacked",
        "reg_tokens": 4,
        "no_embed_class": True,
    },
}
_PACKED = "SwiGLUPacked"


def has_layout(architecture: str) -> bool:
    """Whether it is told here."""
    return architecture in _SIZES


def layout(architecture: str, arguments: Mapping[str, Any]) -> Shapes:
    """Names and shapes of a vision transformer's arrays, without a head.

    Args:
        architecture: One that `has_layout`.
        arguments: That it is made with, over its own.
    """
    given: dict[str, Any] = {"img_size": 224, "mlp_ratio": 4.0, "reg_tokens": 0, **_SIZES[architecture], **arguments}
    width, side = given["embed_dim"], given["patch_size"]
    registers, patches = given["reg_tokens"], (given["img_size"] // side) ** 2
    positions = patches if given.get("no_embed_class") else patches + 1 + registers
    shapes: dict[str, tuple[int, ...]] = {"cls_token": (1, 1, width)}
    if registers:
        shapes["reg_token"] = (1, registers, width)
    shapes |= {
        "pos_embed": (1, positions, width),
        "patch_embed.proj.weight": (width, 3, side, side),
        "patch_embed.proj.bias": (width,),
    }
    for index in range(given["depth"]):
        shapes |= {f"blocks.{index}.{name}": shape for name, shape in _block(given)}
    return shapes | {"norm.weight": (width,), "norm.bias": (width,)}


def _block(given: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    width, hidden = given["embed_dim"], int(given["embed_dim"] * given["mlp_ratio"])
    inside = hidden // 2 if given.get("mlp_layer") == _PACKED else hidden  # one half gates the other
    for part, outputs, inputs in (
        ("attn.qkv", 3 * width, width),
        ("attn.proj", width, width),
        ("mlp.fc1", hidden, width),
        ("mlp.fc2", width, inside),
    ):
        yield f"{part}.weight", (outputs, inputs)
        yield f"{part}.bias", (outputs,)
    for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"):
        yield name, (width,)
    if given.get("init_values") is not None:
        yield "ls1.gamma", (width,)
        yield "ls2.gamma", (width,)
