"""Synthetic inputs of vision-language models: pixels and the tokens that stand for them, as processors make them.

Position ids of images are given with the batch, as a collator can: found from token ids within the model, they would be
read from the device sample by sample.

Legend: B samples, T tokens of a sample with those of its image, P patches of all images.
"""

from __future__ import annotations

from typing import Any

import torch

from tasks.tracing.data_dependent import mark_places, mark_whole
from tasks.tracing.images_in_text import ImagePart

Tensors = dict[str, torch.Tensor]


def image_inputs(config: Any, image: ImagePart, ids_BT: torch.Tensor, *, dtype: torch.dtype, device: str) -> Tensors:
    """What the model takes beside the tokens of the text; writes the places of images into the token ids.

    Args:
        config: of transformers.
        image: of each sample.
        ids_BT: token ids.
        dtype: of pixels.
        device: of all but grids, which stay on the host.
    """
    batch = ids_BT.shape[0]
    vision = config.vision_config
    if config.model_type == "mllama":
        return _beside_text(vision, image, ids_BT, dtype=dtype, device=device)
    ids_BT[:, 1 : 1 + image.places] = int(config.image_token_id)
    mark_places(ids_BT, batch * image.places)
    if image.grid:
        return _rows_of_patches(vision, image, ids_BT, dtype=dtype, device=device)
    channels = int(getattr(vision, "num_channels", None) or 3)
    pixels = (channels, image.edge, image.edge)
    kind = config.model_type
    if kind == "llava_next":
        sizes = torch.tensor([[image.size, image.size]] * batch)
        return {"pixel_values": _zeros(dtype, device, batch, image.tiles, *pixels), "image_sizes": sizes}
    if kind in ("idefics3", "smolvlm"):
        mask = torch.ones(batch, image.tiles, image.edge, image.edge, dtype=torch.long, device=device)
        mark_whole(mask)
        # Pictures of zeros are padding to these models.
        values = torch.ones(batch, image.tiles, *pixels, dtype=dtype, device=device)
        return {"pixel_values": values, "pixel_attention_mask": mask}
    inputs = {"pixel_values": _zeros(dtype, device, batch * image.tiles, *pixels)}
    if kind in ("gemma3", "paligemma"):
        types_BT = torch.zeros_like(ids_BT)
        if kind == "gemma3":
            types_BT[:, 1 : 1 + image.places] = 1
        else:
            types_BT[:, 1 + image.places :] = 1
        inputs["token_type_ids"] = types_BT
    return inputs


def _beside_text(vision: Any, image: ImagePart, ids_BT: torch.Tensor, *, dtype: torch.dtype, device: str) -> Tensors:
    """Tiles of one image a sample, all of which each token of the text sees."""
    batch, tokens = ids_BT.shape
    channels = int(vision.num_channels)
    return {
        "pixel_values": _zeros(dtype, device, batch, 1, image.tiles, channels, image.edge, image.edge),
        "aspect_ratio_ids": torch.ones(batch, 1, dtype=torch.long, device=device),
        "aspect_ratio_mask": torch.ones(batch, 1, image.tiles, dtype=torch.long, device=device),
        "cross_attention_mask": torch.ones(batch, tokens, 1, image.tiles, dtype=torch.long, device=device),
    }


def _rows_of_patches(
    vision: Any, image: ImagePart, ids_BT: torch.Tensor, *, dtype: torch.dtype, device: str
) -> Tensors:
    batch, tokens = ids_BT.shape
    patches = batch * image.grid**2
    grids = torch.tensor([[1, image.grid, image.grid]] * batch)
    values = int(vision.in_channels) * int(vision.temporal_patch_size) * int(vision.patch_size) ** 2
    inputs = {
        "pixel_values": _zeros(dtype, device, patches, values),
        "image_grid_thw": grids,
        "position_ids": _zeros(torch.long, device, 3, batch, tokens),
        "image_position_ids": _zeros(torch.long, device, patches, 2),
    }
    if getattr(vision, "window_size", None):
        from transformers.vision_utils import get_vision_window_index

        order, starts = get_vision_window_index(
            grids,
            spatial_merge_size=vision.spatial_merge_size,
            window_size=vision.window_size,
            patch_size=vision.patch_size,
        )
        inputs |= {"image_window_index": order.to(device), "image_cu_window_seqlens": starts}
    return inputs


def _zeros(dtype: torch.dtype, device: str, *shape: int) -> torch.Tensor:
    return torch.zeros(*shape, dtype=dtype, device=device)
