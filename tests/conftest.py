"""Models for the tests: the published architecture at a tenth of its width, and one of a few thousand weights; and
processes of their own for what would change this one."""

import dataclasses
import gc
import json
import multiprocessing
import os
import socket
import sys
import traceback
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file

import benchmarks  # noqa: F401 - else pytest makes an empty package of this name for tests/benchmarks
from magicdance_core.checkpoints import Components, load_published
from magicdance_core.models import AppearanceControlModel, PoseControlNet, use_source_attention
from magicdance_core.schedule import published_scheduler
from magicdance_core.training.config import load_config

GOLDEN = Path(__file__).parent / "golden"


def relative_error(out: torch.Tensor, expected: torch.Tensor) -> float:
    return float((out.double() - expected.double()).norm() / expected.double().norm())


def published_state(seed: int = 0) -> dict[str, torch.Tensor]:
    """The checkpoint that `golden/expected.safetensors` was computed with, each tensor drawn from its own key."""
    return {key: _draw(key, shape, seed) for key, shape in json.loads((GOLDEN / "keys.json").read_text()).items()}


def _draw(key: str, shape: list[int], seed: int) -> torch.Tensor:
    if key.endswith("position_ids"):
        return torch.arange(77)[None]
    if "." not in key:
        return torch.zeros(shape)  # buffers of the noise schedule, which no loader reads
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(f"{seed}:{key}".encode())))
    if len(shape) > 1:
        return weight / weight[0].numel() ** 0.5
    return 1 + 0.1 * weight if key.endswith(".weight") else 0.05 * weight


def tiny_components(prediction_type: str = "epsilon", seed: int = 0) -> Components:
    """A model in which every weight is random and no branch is silent: two levels, VAE factor 4."""
    torch.manual_seed(seed)
    shared = {
        "block_out_channels": (16, 32),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "attention_head_dim": 4,
        "cross_attention_dim": 12,
    }
    config = {**shared, "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"), "sample_size": 8}
    components = Components(
        unet=UNet2DConditionModel(**config),
        vae=AutoencoderKL(
            block_out_channels=(8, 8, 8),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            norm_num_groups=4,
            latent_channels=4,
        ),
        appearance=AppearanceControlModel(**config),
        pose=PoseControlNet(**shared, conditioning_embedding_out_channels=(8, 8, 16)),
        scheduler=published_scheduler(prediction_type),
        text_encoder=None,
        context=torch.randn(1, 3, 12),
        defaults={"num_inference_steps": 4, "guidance_scale": 2.0, "sample_size": 32},
    )
    use_source_attention(components.unet)
    for network in (components.unet, components.vae, components.appearance, components.pose):
        network.eval()
    for name, weight in components.pose.named_parameters():
        if "controlnet_" in name:  # zero in a new ControlNet
            torch.nn.init.normal_(weight, std=0.2)
    return components


def pytest_collection_finish():
    gc.freeze()  # the libraries stay: the collections between stages of training need not go through them


class NetworkUsed(AssertionError):
    pass


@pytest.fixture(autouse=True)
def no_network(request, monkeypatch):
    """Fails a test that reaches for the network, also where that is caught; a ComfyUI server may be on loopback."""
    tried: list[str] = []
    connect, look_up = socket.socket.connect, socket.getaddrinfo
    local = ("127.0.0.1", "::1", "localhost") if "comfyui" in request.path.parts else ()

    def refuse(what: object):
        tried.append(str(what))
        raise NetworkUsed(f"a test reached for {what}")

    def guarded_connect(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in local:
            refuse(address)
        return connect(self, address)

    def guarded_look_up(host, *arguments, **options):
        return look_up(host, *arguments, **options) if host in local else refuse(host)

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket.socket, "connect_ex", guarded_connect)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_look_up)
    yield tried
    assert not tried, f"reached for the network: {tried}"


@pytest.fixture(name="relative_error", scope="session")
def _relative_error() -> Callable[[torch.Tensor, torch.Tensor], float]:
    """norm(out - expected) / norm(expected)"""
    return relative_error


@pytest.fixture(scope="session")
def make_tiny() -> Callable[..., Components]:
    """Builds a model of a few thousand weights: `make_tiny(prediction_type="epsilon", seed=0)`."""
    return tiny_components


@pytest.fixture
def tiny() -> Components:
    return tiny_components()


@pytest.fixture(scope="session")
def expected() -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / "expected.safetensors")


@pytest.fixture(scope="session")
def published_files(tmp_path_factory) -> dict[str, Path]:
    """The checkpoint of the parity data as torch and as safetensors file, by suffix."""
    folder, state = tmp_path_factory.mktemp("published"), published_state()
    torch.save(state, folder / "model.th")
    save_file(state, folder / "model.safetensors")
    return {".th": folder / "model.th", ".safetensors": folder / "model.safetensors"}


@pytest.fixture(scope="session")
def published(published_files) -> Components:
    return load_published(published_files[".safetensors"])


def in_processes(job, *arguments, number=1, **options):
    """Run `job(*arguments, **options)` in forked processes that form a gloo group; their exit codes."""
    if sys.platform != "linux":
        pytest.skip("forks, which only Linux does safely")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=_enter, args=(job, arguments, options, rank, number, port)) for rank in range(number)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    return [process.exitcode for process in processes]


def _enter(job, arguments, options, rank, number, port):
    from accelerate.state import AcceleratorState, GradientState, PartialState

    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()  # the parent's runs left theirs
    if number > 1:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(number)}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
    torch.set_num_threads(1)
    code = 1
    try:
        job(*arguments, **options)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@pytest.fixture(scope="session", name="in_processes")
def _in_processes():
    return in_processes


@pytest.fixture(scope="session")
def smoke():
    """The configuration smoke.yaml."""
    return load_config("smoke")


@pytest.fixture(scope="session")
def one_stage(smoke):
    """A configuration with the given values for one stage of the smoke run: `one_stage("pose", steps=2)`."""

    def make(name="pose", data=None, run=None, **changes):
        (stage,) = (stage for stage in smoke.stages if stage.name == name)
        changed = dataclasses.replace(stage, **{"from_unet": [], **changes})
        data = dataclasses.replace(smoke.data, **(data or {}))
        return dataclasses.replace(smoke, stages=[changed], data=data, **(run or {}))

    return make
