"""Runs jobs of tests in processes of their own, for what would change or end this one."""

import multiprocessing
import os
import socket
import sys
import traceback

import pytest
import torch

PRELOADED = ["magicdance_core.training.engine", "magicdance_core.data.latent_cache", "magicdance_core.data.streaming"]


def in_processes(job, *arguments, number=1, **options):
    """Run `job(*arguments, **options)` in processes that form a gloo group; their exit codes.

    They are forked from a server that has only imported: after a fork of this process, FFmpeg's scaler may wait for
    threads that are not there. job: a function of a module. arguments, options: what can be pickled.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        pytest.skip("needs a fork server, which Windows lacks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    processes = [
        context.Process(target=_enter, args=(job, arguments, options, rank, number, port)) for rank in range(number)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    return [process.exitcode for process in processes]


def _enter(job, arguments, options, rank, number, port):
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
