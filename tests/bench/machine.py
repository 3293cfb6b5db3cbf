"""Which machine this is, for the table's foot."""

import os
import platform
import time


def _first(path, key):
    try:
        with open(path) as file:
            for line in file:
                name, _, value = line.partition(":")
                if name.strip() == key:
                    return value.strip()
    except OSError:
        pass
    return None


def describe():
    """Return what a reader has to know about a measurement's machine."""
    memory = _first("/proc/meminfo", "MemTotal")
    cpu = _first("/proc/cpuinfo", "model name") or platform.processor() or platform.machine()
    if "hypervisor" in (_first("/proc/cpuinfo", "flags") or ""):
        cpu += ", virtual"
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "memory": f"{int(memory.split()[0]) / (1 << 20):.0f} GiB" if memory else "unknown",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
        "load_before": round(os.getloadavg()[0], 2),
    }
