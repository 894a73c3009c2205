"""Detectors of people's keypoints in pictures."""

from .detector import Detector, detector_file, make_detector

__all__ = ["Detector", "detector_file", "make_detector"]
