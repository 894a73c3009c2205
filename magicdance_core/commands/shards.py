"""Export a data set as Parquet files, which training streams."""

import argparse

from ..errors import InputError
from .common import file_path, positive_int
from .dataset import shard, shard_of_launcher


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "set",
        type=file_path,
        metavar="SET",
        help="a data set of the command `dataset`, or in TikTok/DisCo's or the published layout",
    )
    parser.add_argument(
        "--out", required=True, type=file_path, metavar="DIR",
        help="folder of the files; the same command resumes; training takes a folder of such folders as one data set",
    )  # fmt: skip
    parser.add_argument(
        "--frames", type=positive_int, default=32, metavar="N", help="largest number of frames per clip (default: 32)"
    )
    parser.add_argument(
        "--consecutive", action="store_true", help="clips of consecutive frames (default: spread over the video)"
    )
    parser.add_argument("--clips", type=positive_int, default=64, metavar="N", help="clips per file (default: 64)")
    parser.add_argument(
        "--shard", type=shard, metavar="K/N",
        help="only every N-th file from the K-th on, for several machines (default: all, or this launched process's)",
    )  # fmt: skip


def run(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from ..data.layouts import read_layout
    from ..data.parquet_shards import MIN_FRAMES, write_shards

    if options.frames < MIN_FRAMES:
        raise InputError(
            f"--frames is {options.frames}: give {MIN_FRAMES} or more, for reference and targets share a clip."
        )
    chosen = options.shard or shard_of_launcher()
    entries = read_layout(options.set)
    with tqdm(desc="files", unit="file", leave=False) as bar:

        def update(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        index = write_shards(entries, options.out, options.frames, options.consecutive, options.clips, chosen, update)
    if index is None:
        print(f"this shard of the files is ready; {options.out} is complete once all shards are")
        return
    print(f"train with --set data.kind=videos --set data.folder={options.out} --set data.crops=0")
