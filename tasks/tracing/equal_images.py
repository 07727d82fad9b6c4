"""Images of a batch taken at once where a model takes them one after the other, so that its ops do not depend on B.

Memory and work stay those of the model: pieces share the tensors they are cut from, and their results are put together
once; only the number of kernels is that of one image. Done to models on meta alone, which compute nothing.

Legend: N images or pieces of them, P patches of all images, L patches of a piece, H heads, D size of a head, E
features.
"""

from __future__ import annotations

import sys
from collections import Counter
from types import MethodType
from typing import Any

import torch
from torch import nn

_NAME = "flash_equal_images"
"""transformers gives boundaries of images to attention with `flash` in its name, and cuts by them itself otherwise."""
_CUT_BY_ATTENTION = ("qwen2_vl", "qwen2_5_vl")
ONE_BY_ONE = (*_CUT_BY_ATTENTION, "llava_next")
"""Model types that take images one by one in some part."""

_ENCODERS = frozenset({"vision_tower", "multi_modal_projector", "embed_vision", "audio_tower", "embed_audio"})
"""Parts of models that read text alone too."""


def take_at_once(model: nn.Module, model_type: str) -> None:
    """Have a model on meta take all images of a batch at once."""
    if model_type in _CUT_BY_ATTENTION:
        _register()
        for part in model.modules():
            config: Any = getattr(part, "config", None)
            if getattr(config, "model_type", None) == f"{model_type}_vision" and config._attn_implementation != _NAME:
                config.tunefare_attention = config._attn_implementation
                config._attn_implementation = _NAME
    elif model_type == "llava_next":
        whole: Any = next(part for part in model.modules() if hasattr(part, "pack_image_features"))
        inner: Any = getattr(whole, "model", whole)
        inner.get_image_features = MethodType(_llava_next_features, inner)


def leave_encoders(model: nn.Module) -> None:
    """What text does not pass through gets no gradients: no optimizer keeps a state for it, and it is not learnt."""
    for name, parameter in model.named_parameters():
        if not _ENCODERS.isdisjoint(name.split(".")):
            parameter.requires_grad_(False)


def _register() -> None:
    from transformers import AttentionInterface

    AttentionInterface.register(_NAME, _attention)


def _attention(
    module: Any,
    query_1HPD: torch.Tensor,
    key_1HPD: torch.Tensor,
    value_1HPD: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    cu_seq_lens_q: torch.Tensor,
    cu_seq_lens_k: torch.Tensor,
    max_length_q: int,
    max_length_k: int,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attention within each piece, for all pieces of one length at once; which of them stands where is all the same."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    own = sys.modules[type(module).__module__]
    of_pieces = ALL_ATTENTION_FUNCTIONS.get_interface(module.config.tunefare_attention, own.eager_attention_forward)
    counts = Counter((cu_seq_lens_q[1:] - cu_seq_lens_q[:-1]).tolist())
    sizes = [length * count for length, count in counts.items()]
    splits = [torch.split(part, sizes, dim=2) for part in (query_1HPD, key_1HPD, value_1HPD)]
    outs = []
    for length, *parts in zip(counts, *splits, strict=True):
        pieces = [_Pieces.apply(part, length) for part in parts]  # type: ignore[no-untyped-call]
        out_NLHD = of_pieces(module, *pieces, attention_mask=None, **options)[0]
        outs.append(out_NLHD.flatten(0, 1).unsqueeze(0))
    return torch.cat(outs, dim=1), None


class _Pieces(torch.autograd.Function):
    """1 x H x P x D as N x H x L x D in the same storage. Of values there are none, so that any order of them will do,
    and one is taken from which no product has to copy, as it need not from a single piece."""

    @staticmethod
    def forward(ctx: Any, part_1HPD: torch.Tensor, length: int) -> torch.Tensor:
        _, heads, patches, size = ctx.shape = part_1HPD.shape
        shape = (patches // length, heads, length, size)
        return part_1HPD.as_strided(shape, (heads * length * size, length * size, size, 1))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradients[0].reshape(ctx.shape), None


def _llava_next_features(model: Any, pixel_values: torch.Tensor, image_sizes: torch.Tensor, **_: Any) -> Any:
    """All tiles through encoder and projector; then the tiles of each image side by side, with an end to each row."""
    from transformers.models.llava_next import modeling_llava_next

    own: Any = modeling_llava_next
    config = model.config
    images, tiles = pixel_values.shape[:2]
    outputs = model.vision_tower(torch.cat([pixel_values.flatten(0, 1)]), output_hidden_states=True, return_dict=True)
    layers = config.vision_feature_layer
    if isinstance(layers, int):
        picked = outputs.hidden_states[layers]
    else:
        picked = torch.cat([outputs.hidden_states[at] for at in layers], dim=-1)
    if config.vision_feature_select_strategy == "default":
        picked = picked[:, 1:]
    projected: Any = torch.split(model.multi_modal_projector(picked), [images * tiles])[0]
    projected = projected.unflatten(0, (images, tiles))
    vision = config.vision_config
    side = vision.image_size // vision.patch_size
    shape = own.get_anyres_image_grid_shape(image_sizes[0], config.image_grid_pinpoints, vision.image_size)
    grid = projected[:, 1:].unflatten(2, (side, side)).unflatten(1, shape).permute(0, 5, 1, 3, 2, 4).contiguous()
    rows_NEhw = own.unpad_image(grid.flatten(0, 1).flatten(1, 2).flatten(2, 3), image_sizes[0]).unflatten(
        0, (images, -1)
    )
    ends_NEh1 = model.image_newline[None, :, None, None].expand(*rows_NEhw.shape[:-1], 1).to(rows_NEhw.dtype)
    packed = torch.cat((rows_NEhw, ends_NEh1), dim=-1).flatten(2, 3).transpose(1, 2)
    outputs.pooler_output = [torch.cat((projected[:, 0], packed), dim=1).flatten(0, 1)]
    return outputs
