"""Finding people in pictures."""

from .base import Detector
from .choice import DETECTORS, file_of, make_detector

__all__ = ["DETECTORS", "Detector", "file_of", "make_detector"]
