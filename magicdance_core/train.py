"""The bundled training script: `python -m magicdance_core.train CONFIG [--out DIR]`."""

import argparse
import sys
from pathlib import Path

from .entry import Parser, execute


def main(arguments: list[str] | None = None) -> int:
    """Run the script; see `entry.execute` for what it returns."""
    parser = Parser(prog="python -m magicdance_core.train", description=__doc__)
    parser.add_argument("config", help="a YAML file; examples are in magicdance_core/training/configs")
    parser.add_argument("--out", type=Path, help="folder of the run (default: runs/<name of the configuration>)")
    parser.add_argument("--device", help="cpu, cuda, ... (default: cuda where there is one)")
    parser.set_defaults(run=_run)
    return execute(parser, arguments, name="train")


def _run(options: argparse.Namespace) -> None:
    try:
        run(options.config, options.out or Path("runs") / Path(options.config).stem, options.device)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("Interrupted; the same command resumes from the last saved step.") from None


def run(config_path: str, out: Path, device: str | None = None) -> None:
    """Train all stages and save the result as `out/final/model.safetensors`, in the published layout."""
    from .training.config import load_config

    config = load_config(config_path)

    import torch

    from .training.export import export
    from .training.loop import train

    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    networks = train(config, out, device)
    export(config, networks, out / "final" / "model.safetensors")


if __name__ == "__main__":
    sys.exit(main())
