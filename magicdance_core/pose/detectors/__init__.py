"""Finding people in pictures."""

from .base import Detector
from .choice import DETECTORS, make_detector

__all__ = ["DETECTORS", "Detector", "make_detector"]
