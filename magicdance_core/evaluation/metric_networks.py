"""The networks that metrics need, loaded from the files at hand, and what other metrics lack."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch

from ..pose.detectors.detector import Detector
from ..pose.detectors.dwpose import DWPoseDetector
from ..pose.detectors.openpose import OpenPoseDetector
from .face_similarity import FaceExtractor
from .features import FeatureExtractor, InceptionExtractor, Lpips, i3d_extractor, resnet_extractor
from .metric_weights import (
    FACE_DETECTOR,
    FACE_EMBEDDER,
    I3D_ORIGINAL,
    I3D_PUBLISHED,
    INCEPTION,
    OPENPOSE_BODY,
    PERSON_DETECTOR,
    POSE_ESTIMATOR,
    RESNET3D,
    VGG,
    WeightFile,
    find_weights,
)
from .scores import PoseExtractor


@dataclass
class MetricNetworks:
    """Networks loaded from a folder of weights.

    extractors: networks that turn one video at a time into features. lpips: None if its file is missing.
    needs: for each metric that cannot be computed, the name of a missing file. files: path, size and time of change of
    each file in use. device: where distances of features are computed.
    """

    device: torch.device
    extractors: list[FeatureExtractor] = field(default_factory=list)
    lpips: Lpips | None = None
    needs: dict[str, str] = field(default_factory=dict)
    files: list = field(default_factory=list)

    def find(self, folder: Path | None, metrics: tuple[str, ...], *choices: tuple[WeightFile, ...]) -> list[Path]:
        """Return the paths of the first choice whose files are all there; none, and a note in `needs`, without one."""
        for files in choices:
            paths = [path for path in (find_weights(folder, file) for file in files) if path]
            if len(paths) == len(files):
                self.files += [[str(p.absolute()), p.stat().st_size, p.stat().st_mtime_ns] for p in paths]
                return paths
        missing = next(file for file in choices[0] if find_weights(folder, file) is None)
        self.needs |= dict.fromkeys(metrics, missing.name)
        return []


def load_metric_networks(folder: Path | None, device: torch.device, published: bool = False) -> MetricNetworks:
    """Load all networks whose files a folder holds; none without a folder.

    Of two files for one metric the published one is taken. published: FID's frames are resized as published.
    Raises InputError if a file is damaged or not the published one, or if a library that reads it is missing.
    """
    networks = MetricNetworks(device)
    extractors = networks.extractors
    if paths := networks.find(folder, ("lpips",), (VGG,)):
        networks.lpips = Lpips.from_file(paths[0], device)
    if paths := networks.find(folder, ("face_cos", "face_found"), (FACE_DETECTOR, FACE_EMBEDDER)):
        extractors.append(FaceExtractor.from_files(paths[0], paths[1]))
    if paths := networks.find(folder, ("fid", "kid"), (INCEPTION,)):
        extractors.append(InceptionExtractor.from_file(paths[0], not published, device))
    if paths := networks.find(folder, ("fid_vid",), (RESNET3D,)):
        extractors.append(resnet_extractor(paths[0], device))
    if paths := networks.find(folder, ("fvd",), (I3D_PUBLISHED,), (I3D_ORIGINAL,)):
        extractors.append(i3d_extractor(paths[0], device))
    if paths := networks.find(
        folder, ("pose_error", "pose_found"), (PERSON_DETECTOR, POSE_ESTIMATOR), (OPENPOSE_BODY,)
    ):
        extractors.append(PoseExtractor(_detector(paths[0].parent, len(paths) == 1, device)))
    return networks


def _detector(folder: Path, openpose: bool, device: torch.device) -> Detector:
    if openpose:
        return OpenPoseDetector.from_folder(folder, hands=False, face=False, device=device)
    return DWPoseDetector.from_folder(folder)
