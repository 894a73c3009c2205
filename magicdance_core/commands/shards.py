"""A data set that outgrows a disk: Parquet files of its frames, which training streams."""

import argparse

from ..errors import InputError
from .common import file_path, positive_int
from .dataset import shard, shard_of_launcher


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "set", type=file_path, metavar="SET", help="what `dataset` wrote, or a folder of another layout that is read"
    )
    parser.add_argument(
        "--out", required=True, type=file_path, metavar="DIR",
        help="where the files go; the same command goes on with them, and folders of such in one folder are one set",
    )  # fmt: skip
    parser.add_argument("--frames", type=positive_int, default=32, metavar="N", help="of a clip, at most (default: 32)")
    parser.add_argument(
        "--consecutive", action="store_true", help="clips of frames in a row (default: spread over their video)"
    )
    parser.add_argument("--clips", type=positive_int, default=64, metavar="N", help="of a file (default: 64)")
    parser.add_argument(
        "--shard", type=shard, default=shard_of_launcher(), metavar="K/N",
        help="only every N-th file, from the K-th on, for several machines (default: all, or a launched process's)",
    )  # fmt: skip


def run(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from ..data.layouts import read_layout
    from ..data.parquet_shards import MIN_FRAMES, write_shards

    if options.frames < MIN_FRAMES:
        raise InputError(f"--frames takes {MIN_FRAMES} or more: reference and targets come from one clip.")
    entries = read_layout(options.set)
    with tqdm(desc="files", unit="file") as bar:

        def tell(done: int, of: int) -> None:
            bar.total = of
            bar.update(done - bar.n)

        index = write_shards(
            entries, options.out, options.frames, options.consecutive, options.clips, options.shard, tell
        )
    if index is None:
        print(f"this share of the files is ready; the set is when all are, in {options.out}")
        return
    print(f"train with --set data.kind=videos --set data.folder={options.out} --set data.crops=0")
