"""Make training data from videos: frames at an even rate, poses, filters, splits and a report."""

import argparse
from pathlib import Path

from ..choices import KNOWN_SETS
from ..errors import InputError
from ..launcher import rank_and_size
from .common import add_score_argument, file_path, finite_float, frame_rate, nonnegative_int, positive_int
from .extract import add_detector_arguments, load_detector


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "videos",
        nargs="+",
        type=file_path,
        metavar="VIDEOS",
        help="video files, folders of pictures, or folders of these",
    )
    parser.add_argument(
        "--out",
        required=True,
        type=file_path,
        metavar="DIR",
        help="folder of the data set; the same command resumes an interrupted one",
    )
    parser.add_argument(
        "--layout", choices=KNOWN_SETS,
        help="VIDEOS is the folder of this public data set: its videos, its test split, its poses if it has any",
    )  # fmt: skip
    parser.add_argument(
        "--poses", type=file_path, metavar="DIR",
        help="poses named like the videos: keypoints (.npz, .json, folder) or pose maps (folder, video)",
    )  # fmt: skip
    add_score_argument(parser)
    detection = parser.add_argument_group("detection", "where --poses are not given")
    add_detector_arguments(detection)
    detection.add_argument(
        "--device", help="for openpose and mediapipe: cpu, cuda, mps, ... (default: a GPU where there is one)"
    )
    parser.add_argument("--fps", type=frame_rate, default=30.0, help="frames per second (default: 30)")
    parser.add_argument("--short-side", type=positive_int, metavar="N", help="scale larger pictures down to N pixels")
    parser.add_argument("--png", action="store_true", help="write lossless PNG (default: JPEG, quality 95)")
    parser.add_argument(
        "--min-keypoints",
        type=nonnegative_int,
        default=6,
        metavar="N",
        help="keep frames with more than N of 18 body points (default: 6)",
    )
    parser.add_argument(
        "--min-area",
        type=finite_float,
        default=0.04,
        metavar="SHARE",
        help="keep frames in which the person's box is a larger share of the picture (default: 0.04)",
    )
    parser.add_argument(
        "--validation", type=_share, default=0.05, metavar="SHARE", help="share of the videos (default: 0.05)"
    )
    parser.add_argument(
        "--test", type=_share, default=0.05, metavar="SHARE", help="share of the videos (default: 0.05)"
    )
    parser.add_argument(
        "--shard", type=shard, metavar="K/N",
        help="only every N-th video from the K-th on, for several machines (default: all, or this launched process's)",
    )  # fmt: skip


def run(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from ..data.contact_sheet import write_sheet
    from ..data.prepare import Filters, Output, find_poses, find_videos, known_splits, prepare_video, write_index

    known_splits(options.out)  # refused now rather than after all videos
    tests = None
    if options.layout:
        videos, poses, tests = _known(options)
    else:
        videos = find_videos(options.videos)
        poses = find_poses(options.poses, videos) if options.poses else {}
    filters = Filters(options.min_keypoints, options.min_area)
    output = Output(options.fps, options.short_side, options.png)
    number, of = options.shard or shard_of_launcher()
    chosen = list(videos.items())[number - 1 :: of]
    detector = None
    if not poses:
        detector, choice = load_detector(options)
        print(f"detector {choice.name}: {choice.reason}")
    with tqdm(chosen, desc="videos", unit="video", leave=False) as bar:
        for name, path in bar:
            record = prepare_video(
                name, path, options.out, detector, poses.get(name), filters, output,
                lambda done, name=name: bar.set_postfix_str(f"{name}: frame {done}", refresh=done % 30 == 0),
                options.min_score,
            )  # fmt: skip
            if "error" in record:
                tqdm.write(f"{name} is left out: {record['error']}")
    report = write_index(options.out, videos, output, options.validation, options.test, tests)
    if report is None:
        print(f"this shard of the videos is ready; {options.out} is complete once all shards are")
        return
    write_sheet(options.out, options.out / "contact_sheet.png")
    print(f"{report['frames_kept']} of {report['frames']} frames of {report['videos_kept']} videos in {options.out}")
    for reason, frames in report["dropped"].items():
        print(f"{frames:8d} dropped: {reason}")
    for part, number in report["split"].items():
        print(f"{number:8d} videos for {part}")
    print(f"look at {options.out / 'contact_sheet.png'}")
    print(f"train with --set data.kind=videos --set data.folder={options.out}")


def _known(options: argparse.Namespace) -> tuple[dict[str, Path], dict[str, Path], set[str]]:
    """Return videos and poses of a public data set by name, and the names of its test videos."""
    from ..data.known_sets import find_known
    from ..data.prepare import find_poses

    if len(options.videos) > 1:
        raise InputError(f"--layout {options.layout} takes one folder and there are {len(options.videos)}: give one.")
    found = find_known(options.layout, options.videos[0])
    videos = {name: video.path for name, video in found.items()}
    poses = {name: video.poses for name, video in found.items() if video.poses is not None}
    if options.poses:
        poses = find_poses(options.poses, videos)
    elif len(poses) < len(videos):
        poses = {}  # all by one detector
    return videos, poses, {name for name, video in found.items() if video.split == "test"}


def _share(text: str) -> float:
    number = finite_float(text)
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"{text} is out of range: give 0 or more, and less than 1")
    return number


def shard(text: str) -> tuple[int, int]:
    """Return K and N of the text K/N."""
    number, _, of = text.partition("/")
    digits = (number + of).isascii() and number.isdecimal() and of.isdecimal() and len(text) <= 20
    if not (digits and 1 <= int(number) <= int(of)):
        raise argparse.ArgumentTypeError(f"{text[:40]} is no shard: give K/N with K from 1 to N")
    return int(number), int(of)


def shard_of_launcher() -> tuple[int, int]:
    """Return the shard of this process if `accelerate launch` or `torchrun` started several."""
    rank, size = rank_and_size()
    return rank + 1, size
