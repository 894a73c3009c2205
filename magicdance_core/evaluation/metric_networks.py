"""The networks that metrics need, loaded from the files at hand, and what other metrics lack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..pose.detectors.detector import Detector
from ..pose.detectors.dwpose import DWPoseDetector
from ..pose.detectors.openpose import OpenPoseDetector
from .face_similarity import FaceExtractor
from .features import (
    FeatureExtractor,
    InceptionExtractor,
    Lpips,
    i3d_extractor,
    resnet_extractor,
    videomae_extractor,
)
from .metric_weights import (
    ADAFACE,
    AMT,
    CLIP,
    DINO,
    FACE_DETECTOR,
    FACE_EMBEDDER,
    I3D_ORIGINAL,
    I3D_PUBLISHED,
    INCEPTION,
    OPENPOSE_BODY,
    PERSON_DETECTOR,
    PIPS,
    POSE_ESTIMATOR,
    RESNET3D,
    VGG,
    VIDEOMAE,
    WeightFile,
    find_weights,
    sha256,
)
from .motion_features import MotionExtractor
from .motion_smoothness import SmoothnessExtractor
from .picture_embedders import clip_embedder, dino_embedder
from .scores import PoseExtractor


@dataclass
class MetricNetworks:
    """Networks loaded from a folder of weights.

    extractors: networks that turn one video at a time into features. lpips: None if its file is missing. caption: a
    text to CLIP's vector; None without CLIP. classifier: the weights of Inception's last layer; None without it.
    needs: for each metric that cannot be computed, the name of a missing file. files: path, size and time of change of
    each file in use. hashes: SHA-256 of those whose published hash is not known. device: where distances of features
    are computed.
    """

    device: torch.device
    caption: Callable[[str], np.ndarray] | None = None
    extractors: list[FeatureExtractor] = field(default_factory=list)
    lpips: Lpips | None = None
    classifier: Tensor | None = None
    needs: dict[str, str] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    files: list = field(default_factory=list)

    def find(self, folder: Path | None, metrics: tuple[str, ...], *choices: tuple[WeightFile, ...]) -> list[Path]:
        """Return the paths of the first choice whose files are all there; none, and a note in `needs`, without one."""
        for files in choices:
            paths = [path for path in (find_weights(folder, file) for file in files) if path]
            if len(paths) == len(files):
                unknown = [file for file in files if file.sha256 is None]
                self.hashes |= {file.name: sha256(folder / file.name) for file in unknown if folder}
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
    if paths := networks.find(folder, ("face_cos_adaface",), (FACE_DETECTOR, ADAFACE)):
        extractors.append(FaceExtractor.with_adaface(paths[0], paths[1], device))
    if paths := networks.find(folder, ("fid", "kid", "inception_score"), (INCEPTION,)):
        inception = InceptionExtractor.from_file(paths[0], not published, device)
        networks.classifier = inception.classifier
        extractors.append(inception)
    if paths := networks.find(folder, ("fid_vid",), (RESNET3D,)):
        extractors.append(resnet_extractor(paths[0], device))
    if paths := networks.find(folder, ("fvd",), (I3D_PUBLISHED,), (I3D_ORIGINAL,)):
        extractors.append(i3d_extractor(paths[0], device))
    if paths := networks.find(folder, ("cd_fvd",), (VIDEOMAE,)):
        extractors.append(videomae_extractor(paths[0], device))
    if paths := networks.find(folder, ("fvmd",), (PIPS,)):
        extractors.append(MotionExtractor.from_file(paths[0], device))
    if paths := networks.find(folder, ("motion_smoothness",), (AMT,)):
        extractors.append(SmoothnessExtractor.from_file(paths[0], device))
    if paths := networks.find(folder, ("subject_consistency",), (DINO,)):
        extractors.append(dino_embedder(paths[0], device))
    if paths := networks.find(folder, ("clip_score", "background_consistency"), (CLIP,)):
        embedder, networks.caption = clip_embedder(paths[0], device)
        extractors.append(embedder)
    if paths := networks.find(
        folder, ("pose_error", "pose_found"), (PERSON_DETECTOR, POSE_ESTIMATOR), (OPENPOSE_BODY,)
    ):
        extractors.append(PoseExtractor(_detector(paths[0].parent, len(paths) == 1, device)))
    return networks


def _detector(folder: Path, openpose: bool, device: torch.device) -> Detector:
    if openpose:
        return OpenPoseDetector.from_folder(folder, hands=False, face=False, device=device)
    return DWPoseDetector.from_folder(folder)
