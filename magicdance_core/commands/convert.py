"""Make a safetensors file or a folder of a checkpoint."""

import argparse

from ..choices import DTYPES
from .common import file_path, torch_dtype


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="IN", type=file_path, help="a checkpoint: .safetensors, .ckpt, .pth, .th")
    parser.add_argument("target", metavar="OUT", type=file_path, help="a .safetensors file, or without suffix a folder")
    parser.add_argument("--dtype", choices=DTYPES, help="default: as it is")


def run(options: argparse.Namespace) -> None:
    from ..checkpoints import convert

    convert(options.source, options.target, torch_dtype(options.dtype))
    files = options.target.rglob("*.safetensors") if options.target.is_dir() else [options.target]
    print(f"{options.target}: {sum(file.stat().st_size for file in files) / 1e6:.1f} MB of weights")
