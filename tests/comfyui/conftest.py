"""Tests with a real ComfyUI: COMFYUI_PATH is its folder, PYTHON an interpreter with its requirements and ours."""

import asyncio
import copy
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACK = "ComfyUI-MagicDance-Video"
COMFYUI, PYTHON = os.environ.get("COMFYUI_PATH"), os.environ.get("PYTHON", sys.executable)
UNPUBLISHED = shutil.ignore_patterns(".*", "tests", "runs", "demo", "__pycache__")
REQUIREMENTS = "required", "optional"
BYPASSED = 4  # a node's mode
WIDGET_KINDS = "INT", "FLOAT", "BOOLEAN", "STRING", "COMBO"
SAVED_WIDGETS: dict[str, list[str | None]] = {
    "ImageFromBatch": ["batch_index", "length"],  # of other nodes in the workflow files; newer versions may have others
    "LoadImage": ["image", None],
    "LoadVideo": ["file", None],
    "ImageScale": ["upscale_method", "width", "height", "crop"],
    "ImageScaleToTotalPixels": ["upscale_method", "megapixels"],
    "ADE_LoadAnimateDiffModel": ["model_name"],
    "ADE_StandardUniformContextOptions": [
        "context_length", "context_stride", "context_overlap", "fuse_method", "use_on_equal_length", "start_percent",
        "guarantee_steps",
    ],
    "ADE_UseEvolvedSampling": ["beta_schedule"],
    "CheckpointLoaderSimple": ["ckpt_name"],
    "CLIPTextEncode": ["text"],
    "ControlNetApplyAdvanced": ["strength", "start_percent", "end_percent"],
    "CreateVideo": ["fps"],
    "ImageStitch": ["direction", "match_image_size", "spacing_width", "spacing_color"],
    "KSampler": ["seed", None, "steps", "cfg", "sampler_name", "scheduler", "denoise"],
    "LoraLoader": ["lora_name", "strength_model", "strength_clip"],
    "MaskComposite": ["x", "y", "operation"],
    "SaveAnimatedWEBP": ["filename_prefix", "fps", "lossless", "quality", "method"],
    "SaveVideo": ["filename_prefix", "format", "codec"],
    "SolidMask": ["value", "width", "height"],
}  # fmt: skip
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def pytest_collection_modifyitems(items):
    if not COMFYUI:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="COMFYUI_PATH is not set"))


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    """Make a base directory for ComfyUI with the pack and small random models."""
    sys.path.insert(0, str(Path(__file__).parent))
    import models

    folder = tmp_path_factory.mktemp("comfyui")
    pack = folder / "custom_nodes" / PACK
    shutil.copytree(ROOT, pack, ignore=UNPUBLISHED)
    embedded = pack / "magicdance_core" / "assets" / "embedded"
    if not embedded.is_dir():
        models.write_embedded(embedded)
    models.write_models(folder / "models")
    models.write_inputs(folder / "input")
    link_packs(folder)
    return folder


def link_packs(folder: Path) -> None:
    """Link the packs in COMFYUI_PACKS, which some workflows need, into ComfyUI; their models are empty files."""
    if packs := os.environ.get("COMFYUI_PACKS"):
        for pack in Path(packs).iterdir():
            (folder / "custom_nodes" / pack.name).symlink_to(pack)
    motion = folder / "models" / "animatediff_models" / "mm_sd_v15_v2.ckpt"
    motion.parent.mkdir(exist_ok=True)
    motion.touch()


@pytest.fixture(scope="session")
def pack_folder(base) -> Path:
    return base / "custom_nodes" / PACK


@pytest.fixture(scope="session")
def python() -> str:
    return PYTHON


class Server:
    """A process of ComfyUI's server, and requests as its web page sends them."""

    def __init__(self, base: Path, *arguments: str):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        for name in ("input", "output", "temp", "user"):
            (base / name).mkdir(exist_ok=True)
        self.log, self.output = base / "server.log", base / "output"
        command = [
            PYTHON,
            "main.py",
            "--cpu",
            "--listen",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--base-directory",
            base,
        ]
        command += [
            "--disable-auto-launch",
            "--disable-api-nodes",
            "--database-url",
            f"sqlite:///{base / 'comfyui.db'}",
        ]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [*map(str, command), *arguments], cwd=COMFYUI, stdout=log, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
        self.wait(lambda: self.answers(), 600)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(30)

    @contextmanager
    def watched(self):
        """Yield a list whose last number is the server's peak memory in the context, in bytes; 0 except on Linux.

        Memory-mapped files are not counted: the system drops them when it needs memory.
        """
        peak, status, done = [0], Path(f"/proc/{self.process.pid}/status"), threading.Event()

        def watch() -> None:
            while status.is_file() and not done.wait(0.05):
                (line,) = (line for line in status.read_text().splitlines() if line.startswith("RssAnon"))
                peak.append(max(peak[-1], 1024 * int(line.split()[1])))

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield peak
        finally:
            done.set()
            thread.join()

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text(errors="replace")[-3000:]
        try:
            return bool(self.ask("/system_stats"))
        except OSError:
            return False

    def ask(self, route: str, data: dict | None = None):
        body = None if data is None else json.dumps(data).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{route}", body, {"Content-Type": "application/json"}
        )
        with DIRECT.open(request, timeout=120) as answer:
            return json.loads(answer.read() or b"null")

    @staticmethod
    def wait(ready, seconds: float):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := ready():
                return found
            time.sleep(0.1)
        raise AssertionError(f"not ready within {seconds} s")

    def queue(self, prompt: dict) -> str:
        return self.ask("/prompt", {"prompt": prompt})["prompt_id"]

    def queue_until_progress(self, prompt: dict) -> str:
        """Queue a prompt, wait until one of its nodes reports progress, and return the prompt's id."""
        import aiohttp  # a requirement of ComfyUI

        async def watch():
            url = f"http://127.0.0.1:{self.port}"
            async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}/ws?clientId=test") as socket:
                async with session.post(f"{url}/prompt", json={"prompt": prompt, "client_id": "test"}) as answer:
                    number = (await answer.json())["prompt_id"]
                async for message in socket:
                    if message.type == aiohttp.WSMsgType.TEXT and message.json()["type"] == "progress":
                        return number
            raise AssertionError("the server closed the connection")

        return asyncio.run(watch())

    def refusal(self, prompt: dict) -> dict:
        """Return the server's answer to a prompt that it refuses."""
        with pytest.raises(urllib.error.HTTPError) as error:
            self.queue(prompt)
        return json.loads(error.value.read())

    def finish(self, number: str, seconds: float = 3600) -> dict:
        """Wait until a prompt has ended, and return its history."""
        return self.wait(lambda: self.ask(f"/history/{number}").get(number), seconds)

    def run(self, prompt: dict) -> dict:
        history = self.finish(self.queue(prompt))
        name, details = history["status"]["messages"][-1]
        message = details.get("exception_message", name)
        assert history["status"]["status_str"] == "success", f"{details.get('node_type')}: {message}"
        return history["outputs"]

    def prompt(self, workflow: dict, changes: dict | None = None) -> dict:
        """Return the prompt of a workflow file. changes: "NodeType.input" -> value."""
        return to_prompt(workflow, self.ask("/object_info"), changes or {})


def to_prompt(workflow: dict, definitions: dict, changes: dict) -> dict:
    """Return the prompt of a workflow file; see `Server.prompt`. definitions: of /object_info."""
    nodes, links = flattened(workflow)
    prompt = {}
    for node in nodes:
        kind = node["type"]
        if kind not in definitions:
            assert kind == "MarkdownNote", kind
            continue
        given = definitions[kind]["input"]
        sockets = {entry["name"]: entry["link"] for entry in node["inputs"]}
        inputs = {name: list(links[link]) for name, link in sockets.items() if link is not None}
        values = {name: value for name, value in saved_values(node, given).items() if name not in inputs}
        values |= {name: changes[f"{kind}.{name}"] for name in values if f"{kind}.{name}" in changes}
        required, optional = ({n: i for n, i in given.get(k, {}).items() if n not in sockets} for k in REQUIREMENTS)
        inputs |= widget_inputs(required, values) | widget_inputs(optional, values, required=False)
        assert not values, f"{kind} has no widgets {list(values)}"
        prompt[str(node["id"])] = {"class_type": kind, "inputs": inputs}
    return prompt


def flattened(workflow: dict) -> tuple[list[dict], dict]:
    """Return the nodes of a workflow and of its subgraphs, and its links: number -> (node, output).

    Bypassed nodes are left out: each of their outputs gives what comes to their first input of its type.
    """
    subgraphs = {definition["id"]: definition for definition in workflow.get("definitions", {}).get("subgraphs", [])}
    nodes = []
    links: dict = {link[0]: (str(link[1]), link[2]) for link in workflow["links"]}
    outputs = {}  # of a subgraph or bypassed node: (node, output) -> where it comes from
    for node in workflow["nodes"]:
        definition = subgraphs.get(node["type"])
        if node.get("mode") == BYPASSED:
            for slot, output in enumerate(node["outputs"]):
                given = (entry["link"] for entry in node["inputs"] if entry["type"] == output["type"])
                if (link := next(given, None)) is not None:
                    outputs[str(node["id"]), slot] = links[link]
            continue
        if definition is None:
            nodes.append(node)
            continue
        for link in definition["links"]:
            origin = f"{node['id']}:{link['origin_id']}", link["origin_slot"]
            if link["origin_id"] == -10:
                outer = node["inputs"][link["origin_slot"]]["link"]
                if outer is None:  # a widget of the subgraph, which has the same value
                    continue
                origin = links[outer]
            if link["target_id"] == -20:
                outputs[str(node["id"]), link["target_slot"]] = origin
            links[node["id"], link["id"]] = origin
        for inner in copy.deepcopy(definition["nodes"]):
            inner["id"] = f"{node['id']}:{inner['id']}"
            for entry in inner["inputs"]:
                entry["link"] = None if entry["link"] is None else (node["id"], entry["link"])
            inner["inputs"] = [entry for entry in inner["inputs"] if entry["link"] in links or "widget" not in entry]
            nodes.append(inner)

    def resolved(origin: tuple) -> tuple:
        return resolved(outputs[origin]) if origin in outputs else origin

    return nodes, {number: resolved(origin) for number, origin in links.items()}


def saved_values(node: dict, given: dict) -> dict:
    """Return the widget values in a workflow file: name -> value."""
    names = list(SAVED_WIDGETS.get(node["type"], []))
    if node["type"].startswith("MagicDance"):
        for name, (kind, *options) in (given.get("required", {}) | given.get("optional", {})).items():
            if isinstance(kind, list) or kind in WIDGET_KINDS:
                names += [name, None] if options and options[0].get("control_after_generate") else [name]
    values = node["widgets_values"]
    assert len(names) == len(values), f"{node['type']} has the widgets {names}, the file has {values}"
    return {name: value for name, value in zip(names, values) if name}


def widget_inputs(inputs: dict, values: dict, prefix: str = "", required: bool = True) -> dict:
    """Take the values of these widgets out of `values`; a required one that the file does not have gets its default.

    The inputs of a dynamic combo depend on its choice and follow it under names such as `format.codec`.
    """
    taken = {}
    for name, (kind, *more) in inputs.items():
        options = more[0] if more else {}
        if name in values:
            taken[prefix + name] = values.pop(name)
        elif required and "default" in options:
            taken[prefix + name] = options["default"]
        if kind == "COMFY_DYNAMICCOMBO_V3" and prefix + name in taken:
            (chosen,) = (option for option in options["options"] if option["key"] == taken[prefix + name])
            for requirement in REQUIREMENTS:
                nested = chosen["inputs"].get(requirement, {})
                taken |= widget_inputs(nested, values, f"{prefix}{name}.", requirement == "required")
    return taken


@pytest.fixture(scope="session")
def new_server():
    """Return a function that starts a server: `new_server(base_directory)`."""
    return Server


@pytest.fixture(scope="session")
def server(base):
    running = Server(base)
    yield running
    running.close()
