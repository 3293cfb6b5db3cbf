"""A line of a web server's log as a dict."""

import re
from datetime import datetime

LINE = re.compile(r'(\S+) \S+ \S+ \[(.+?)\] "(\S+) (\S+) [^"]*" (\d+) (\d+|-)')


def request(line):
    """Return what a line says; None for the load balancer's own requests: they are left out."""
    found = LINE.fullmatch(line)
    if found is None:
        raise ValueError("not a line of a log")
    host, when, method, path, status, size = found.groups()
    if path == "/health":
        return None
    return {
        "time": datetime.strptime(when, "%d/%b/%Y:%H:%M:%S %z").isoformat(),
        "host": host,
        "request": f"{method} {path}",
        "status": int(status),
        "bytes": 0 if size == "-" else int(size),
    }
