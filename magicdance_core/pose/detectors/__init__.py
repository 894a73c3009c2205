"""Finding people in pictures."""

from .detector import Detector, file_of, make_detector

__all__ = ["Detector", "file_of", "make_detector"]
