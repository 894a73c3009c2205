"""Which metrics can be computed with the files at hand, and what the others need."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch

from ..pose.detectors import make_detector
from ..pose.detectors.dwpose_onnx import BOX_FILE, POSE_FILE
from ..pose.detectors.openpose_networks import FILES as OPENPOSE_FILES
from .faces import FaceViewer
from .features import InceptionViewer, Lpips, Viewer, i3d_viewer, resnet_viewer
from .scores import PoseViewer
from .weights import (
    FACE_FINDER,
    FACE_READER,
    I3D_ORIGINAL,
    I3D_PUBLISHED,
    INCEPTION,
    RESNET3D,
    VGG,
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

    def add(self, metrics: tuple[str, ...], names: list[str], paths: list[Path | None], make) -> None:
        """Make a tool of files, or note which one its metrics need."""
        if None in paths:
            self.needs |= dict.fromkeys(metrics, names[paths.index(None)])
            return
        tool = make(*paths)
        if isinstance(tool, Lpips):
            self.lpips = tool
        else:
            self.viewers.append(tool)
        self.files += [[str(p.absolute()), p.stat().st_size, p.stat().st_mtime_ns] for p in paths]


def load_tools(folder: Path | None, device: torch.device, published: bool = False) -> Tools:
    """All that a folder of weights allows; nothing without one.

    published: FID's frames become smaller as in the published evaluation.
    Raises InputError where a file is damaged, not the published one, or a library that reads it is missing.
    """
    tools = Tools(device)

    def by_weights(metrics, files, make) -> None:
        tools.add(metrics, [file.name for file in files], [find(folder, file) for file in files], make)

    by_weights(("lpips",), [VGG], lambda path: Lpips.from_file(path, device))
    by_weights(("face_cos", "face_found"), [FACE_FINDER, FACE_READER], FaceViewer.from_files)
    by_weights(("fid", "kid"), [INCEPTION], lambda path: InceptionViewer.from_file(path, not published, device))
    by_weights(("fid_vid",), [RESNET3D], lambda path: resnet_viewer(path, device))
    i3d = find(folder, I3D_PUBLISHED, I3D_ORIGINAL)
    tools.add(("fvd",), [I3D_PUBLISHED.name], [i3d], lambda path: i3d_viewer(path, device))
    detector, names = "dwpose", [BOX_FILE, POSE_FILE]
    if folder and not (folder / BOX_FILE).is_file() and (folder / OPENPOSE_FILES["body"]).is_file():
        detector, names = "openpose", [OPENPOSE_FILES["body"]]
    paths = [folder / name if folder and (folder / name).is_file() else None for name in names]
    make = lambda *_: PoseViewer(make_detector(detector, folder, device=str(device)))  # noqa: E731
    tools.add(("pose_error", "pose_found"), names, paths, make)
    return tools
