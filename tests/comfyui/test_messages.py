"""The web extension in a real browser. PLAYWRIGHT_DIR is a folder with playwright-core; Chromium and Node.js are on the
PATH. FRONTEND_PATH, if set, is the folder `static` of another version of comfyui-frontend-package."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

PLAYWRIGHT, FRONTEND = os.environ.get("PLAYWRIGHT_DIR"), os.environ.get("FRONTEND_PATH")
pytestmark = pytest.mark.skipif(not PLAYWRIGHT, reason="PLAYWRIGHT_DIR is not set")


def node(kind: str, **inputs) -> dict:
    return {"class_type": kind, "inputs": inputs}


PUPPETS = node("MagicDancePuppets", identity=1, choreography=2, frames=2, seed=3, width=128, height=128)
SAMPLE = node(
    "MagicDanceSample", model=["1", 0], reference=["2", 0], poses=["2", 1], seed=7, steps=2, cfg=0.0,
    sampler_name="default", control_mode="controlnet_important", preset="exact", frames_per_batch=4,
    decode_chunk_size=4,
)  # fmt: skip
SAMPLED = {"2": PUPPETS, "3": SAMPLE, "4": node("PreviewImage", images=["3", 0])}
FAILS = SAMPLED | {"3": node("MagicDanceSideBySide", image_1=["2", 0], labels="a, b, c", enlarge=1)}
MISSING = SAMPLED | {"1": node("MagicDanceLoadPublished", ckpt_name="gone.th")}


def remarked(seed: int) -> dict:
    """Return a prompt with context windows, but without a motion module."""
    sample = node("MagicDanceSample", **SAMPLE["inputs"] | {"context_options": ["5", 0], "seed": seed})
    options = node(
        "MagicDanceContextOptions", context_length=8, context_overlap=4, closed_loop=False, noise_type="default",
        beta_schedule="default", context_stride=1, fuse_method="pyramid", motion_in_uncond=False, random_starts=False,
        quick_preview=False,
    )  # fmt: skip
    return SAMPLED | {"1": node("MagicDanceLoadBackbone", ckpt_name="embedded"), "3": sample, "5": options}


@pytest.fixture(scope="module")
def page_server(base, new_server):
    running = new_server(base, *(["--front-end-root", FRONTEND] if FRONTEND else []))
    yield running
    running.close()


def frontend_version(server) -> tuple[int, ...]:
    system = server.ask("/system_stats")["system"]
    return tuple(map(int, system["required_frontend_version"].split(".")[:2]))


@pytest.mark.parametrize("nodes2", [True, False], ids=["nodes2", "canvas"])
def test_sentences_are_seen_where_the_frontend_hides_them(page_server, nodes2):
    job = {
        "url": f"http://127.0.0.1:{page_server.port}",
        "playwright": PLAYWRIGHT,
        "chromium": shutil.which("chromium"),
        "nodes2": nodes2,
        "runs": [
            FAILS,
            MISSING,
            remarked(seed=int(nodes2)),
            remarked(seed=int(nodes2)),
        ],  # the last one comes from the cache
    }
    script = Path(__file__).parent / "browser" / "messages.mjs"
    made = subprocess.run(["node", script, json.dumps(job)], check=True, capture_output=True, text=True)
    failed, refused, remark, cached = json.loads(made.stdout)
    hidden = frontend_version(page_server) >= (1, 49)  # older ones show the sentences themselves
    assert len(failed) == len(refused) == hidden
    for toasts, words in ((failed, "give at most one for each"), (refused, "huggingface.co/Boese0601/MagicDance")):
        for shown in toasts:
            assert words in shown["detail"] and shown["visible"] and shown["severity"] == "error"
    for toasts in (remark, cached):
        (shown,) = toasts
        assert shown["severity"] == "warn" and shown["visible"] and "Apply Motion Module" in shown["detail"][:50]
