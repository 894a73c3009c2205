"""Which metrics can be computed with the files at hand, and what the others need."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch

from ..pose.detectors.detector import Detector
from ..pose.detectors.dwpose import DWPoseDetector
from ..pose.detectors.openpose import OpenPoseDetector
from .faces import FaceViewer
from .features import InceptionViewer, Lpips, Viewer, i3d_viewer, resnet_viewer
from .scores import PoseViewer
from .weights import (
    BOX_FINDER,
    FACE_FINDER,
    FACE_READER,
    I3D_ORIGINAL,
    I3D_PUBLISHED,
    INCEPTION,
    OPENPOSE_BODY,
    POINT_FINDER,
    RESNET3D,
    VGG,
    WeightFile,
    find,
)


@dataclass
class Tools:
    """viewers: networks that look at one video at a time. lpips: None where its file is missing.

    needs: for each metric that cannot be computed the file that it lacks. files: those that are used, with their size
    and time of change. device: where the distances of features are computed.
    """

    device: torch.device
    viewers: list[Viewer] = field(default_factory=list)
    lpips: Lpips | None = None
    needs: dict[str, str] = field(default_factory=dict)
    files: list = field(default_factory=list)

    def paths(self, folder: Path | None, metrics: tuple[str, ...], *choices: tuple[WeightFile, ...]) -> list[Path]:
        """The files of the first choice that the folder holds whole; where it holds none, a note of what they need."""
        for files in choices:
            paths = [path for path in (find(folder, file) for file in files) if path]
            if len(paths) == len(files):
                self.files += [[str(p.absolute()), p.stat().st_size, p.stat().st_mtime_ns] for p in paths]
                return paths
        missing = next(file for file in choices[0] if find(folder, file) is None)
        self.needs |= dict.fromkeys(metrics, missing.name)
        return []


def load_tools(folder: Path | None, device: torch.device, published: bool = False) -> Tools:
    """All that a folder of weights allows; nothing without one. Of two files for one metric the published one counts.

    published: FID's frames become smaller as in the published evaluation.
    Raises InputError where a file is damaged, not the published one, or a library that reads it is missing.
    """
    tools = Tools(device)
    if paths := tools.paths(folder, ("lpips",), (VGG,)):
        tools.lpips = Lpips.from_file(paths[0], device)
    if paths := tools.paths(folder, ("face_cos", "face_found"), (FACE_FINDER, FACE_READER)):
        tools.viewers.append(FaceViewer.from_files(paths[0], paths[1]))
    if paths := tools.paths(folder, ("fid", "kid"), (INCEPTION,)):
        tools.viewers.append(InceptionViewer.from_file(paths[0], not published, device))
    if paths := tools.paths(folder, ("fid_vid",), (RESNET3D,)):
        tools.viewers.append(resnet_viewer(paths[0], device))
    if paths := tools.paths(folder, ("fvd",), (I3D_PUBLISHED,), (I3D_ORIGINAL,)):
        tools.viewers.append(i3d_viewer(paths[0], device))
    if paths := tools.paths(folder, ("pose_error", "pose_found"), (BOX_FINDER, POINT_FINDER), (OPENPOSE_BODY,)):
        tools.viewers.append(PoseViewer(_detector(paths[0].parent, len(paths) == 1, device)))
    return tools


def _detector(folder: Path, openpose: bool, device: torch.device) -> Detector:
    if openpose:
        return OpenPoseDetector.from_folder(folder, hands=False, face=False, device=device)
    return DWPoseDetector.from_folder(folder)
