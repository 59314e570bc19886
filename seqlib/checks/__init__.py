"""Exercises that say what went wrong, one module for each topic, and predictions."""

from seqlib.checks.prediction import Prediction

__all__ = ["Prediction"]
