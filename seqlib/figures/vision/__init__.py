"""Figures of the two chapters on pictures: captions and questions, Vision Transformer and images."""

from seqlib.figures.vision.captions import plot_answer, plot_caption, plot_scenes
from seqlib.figures.vision.images import plot_class_attention, plot_gallery, plot_patches

__all__ = [
    "plot_answer",
    "plot_caption",
    "plot_class_attention",
    "plot_gallery",
    "plot_patches",
    "plot_scenes",
]
