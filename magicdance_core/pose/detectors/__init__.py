"""Finding people in pictures."""

from .base import Detector
from .choice import file_of, make_detector

__all__ = ["Detector", "file_of", "make_detector"]
