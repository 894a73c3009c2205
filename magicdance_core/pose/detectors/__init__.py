"""Detectors of people's keypoints in pictures."""

from .detector import Detector, DetectorChoice, choose_detector, detector_file, make_detector

__all__ = ["Detector", "DetectorChoice", "choose_detector", "detector_file", "make_detector"]
