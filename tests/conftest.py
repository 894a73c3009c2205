"""For all tests: models, the published one at a tenth of its width among them, configurations, a watched network."""

import dataclasses
import gc
import json
import socket
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_model import tiny_components

import benchmarks  # noqa: F401 - else pytest makes an empty package of this name for tests/benchmarks
from magicdance_core.checkpoints import Components, load_published
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
