"""Exercises of the two chapters on pictures: captions and questions, Vision Transformer and images."""

from seqlib.checks.vision.captions import (
    base_rate,
    caption_targets,
    hard_attention_gradient,
    spatial_attention,
)
from seqlib.checks.vision.images import add_class_token, patchify, pixel_tokens, sample_image

__all__ = [
    "add_class_token",
    "base_rate",
    "caption_targets",
    "hard_attention_gradient",
    "patchify",
    "pixel_tokens",
    "sample_image",
    "spatial_attention",
]
