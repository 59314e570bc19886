"""Explorers of the two chapters on pictures: captions and questions, Vision Transformer and images."""

from seqlib.widgets.vision.captions import caption_explorer, question_explorer
from seqlib.widgets.vision.images import image_sampling_explorer, patch_explorer

__all__ = ["caption_explorer", "image_sampling_explorer", "patch_explorer", "question_explorer"]
