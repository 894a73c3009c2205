"""A real ComfyUI: set COMFYUI_PATH to its folder, and PYTHON to an interpreter with its requirements and ours."""

import asyncio
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
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def pytest_collection_modifyitems(items):
    if not COMFYUI:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="COMFYUI_PATH is not set"))


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    """A base directory for ComfyUI: the pack, small models, and a stand-in where the embedded model is absent."""
    sys.path.insert(0, str(Path(__file__).parent))
    import models

    folder = tmp_path_factory.mktemp("comfyui")
    pack = folder / "custom_nodes" / PACK
    shutil.copytree(ROOT, pack, ignore=UNPUBLISHED)
    embedded = pack / "magicdance_core" / "assets" / "embedded"
    if not embedded.is_dir():
        models.write_embedded(embedded)
    models.write_models(folder / "models")
    link_packs(folder)
    return folder


def link_packs(folder: Path) -> None:
    """Make the packs in COMFYUI_PACKS, which a workflow may name, known to ComfyUI; their models are empty files."""
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
    """One run of ComfyUI's server, and what its web page would ask of it."""

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
        """Yields a list whose last number is the most memory that the server's own data took meanwhile, in bytes.

        Pages of mapped files are left out: the system takes them back when it needs memory. Linux tells; elsewhere 0.
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
        """Queue a prompt and come back as soon as one of its nodes is under way."""
        import aiohttp  # ComfyUI's own server is made of it

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
        """What the server answers to a prompt that it does not take."""
        with pytest.raises(urllib.error.HTTPError) as error:
            self.queue(prompt)
        return json.loads(error.value.read())

    def finish(self, number: str, seconds: float = 3600) -> dict:
        """The history of a prompt, once it has ended somehow."""
        return self.wait(lambda: self.ask(f"/history/{number}").get(number), seconds)

    def run(self, prompt: dict) -> dict:
        history = self.finish(self.queue(prompt))
        assert history["status"]["status_str"] == "success", history["status"]["messages"][-1]
        return history["outputs"]

    def prompt(self, workflow: dict, changes: dict | None = None) -> dict:
        """A workflow of the editor as a prompt; changes: "NodeType.input" -> value."""
        return to_prompt(workflow, self.ask("/object_info"), changes or {})


def to_prompt(workflow: dict, definitions: dict, changes: dict) -> dict:
    links = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    prompt = {}
    for node in workflow["nodes"]:
        kind = node["type"]
        if kind not in definitions:
            assert kind == "MarkdownNote", kind
            continue
        sockets = {entry["name"]: entry["link"] for entry in node["inputs"]}
        values, inputs = iter(node["widgets_values"]), {}
        given = definitions[kind]["input"]
        for name, (type_, *options) in (given.get("required", {}) | given.get("optional", {})).items():
            if name in sockets:
                if sockets[name] is not None:
                    inputs[name] = links[sockets[name]]
            elif isinstance(type_, list) or type_ in ("INT", "FLOAT", "BOOLEAN", "STRING", "COMBO"):
                inputs[name] = changes.get(f"{kind}.{name}", next(values))
                if options and options[0].get("control_after_generate"):
                    next(values)
        assert next(values, None) is None, f"{kind} has more values than widgets"
        prompt[str(node["id"])] = {"class_type": kind, "inputs": inputs}
    return prompt


@pytest.fixture(scope="session")
def new_server():
    """Starts a server: `new_server(base_directory)`."""
    return Server


@pytest.fixture(scope="session")
def server(base):
    running = Server(base)
    yield running
    running.close()
