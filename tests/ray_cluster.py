"""A Ray cluster of two nodes on this machine, in processes of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

# Its own process, because what Ray leaves behind in one outlives the test that started it.
_PROGRAM = """
import logging, sys
from ray.cluster_utils import Cluster
cluster = Cluster()
for _ in range(2):
    cluster.add_node(
        num_cpus=1, object_store_memory=2**27, memory=2**32, include_dashboard=False
    )
cluster.wait_for_nodes()
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@contextmanager
def two_nodes() -> Iterator[str]:
    """The address of a cluster of two nodes with one processor each."""
    quiet = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=quiet,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert address, "the cluster did not start"
        yield address
    finally:
        process.stdin.close()
        process.wait(timeout=60)
        process.stdout.close()


def kill_a_worker(task: str) -> bool:
    """Kill one process that runs a Ray task of that name; False if none does for a minute."""
    process = _worker(task)
    if process is None:
        return False
    process.kill()
    return True


def seen_working(task: str) -> bool:
    """Whether some process runs a Ray task of that name, within a minute."""
    return _worker(task) is not None


def _worker(task: str) -> psutil.Process | None:
    deadline = time.monotonic() + 60.0
    while time.monotonic() < deadline:
        for process in psutil.process_iter(["cmdline"]):
            if process.info["cmdline"] and f"ray::{task}" in process.info["cmdline"][0]:
                return process
        time.sleep(0.01)
    return None
