"""What became of workers and channels: the accounts of the host (ledger.c) in seconds, with what follows from them."""

import re

import _interlace


class Worker:
    """A worker's account. Times are in seconds; moments are counted from when the first worker was started."""

    def __init__(self, given, origin):
        self.id = given["id"]
        self.name = given["name"]
        self.stage = re.sub(r"(?<=.)-\d+$", "", self.name)
        self.index = given["index"]
        self.count = given["count"]
        self.began = (given["began"] - origin) / 1e9
        self.ready = (given["began"] + given["starting"] - origin) / 1e9
        self.end = (given["end"] - origin) / 1e9
        self.seconds = (given["end"] - given["began"]) / 1e9
        self.starting, self.busy = given["starting"] / 1e9, given["busy"] / 1e9
        self.input, self.output, self.other = (given[kind] / 1e9 for kind in ("input", "output", "other"))
        self.cpu = given["cpu"] / 1e9
        self.queued = given["queued"] / 1e9  # it wanted a CPU, and others had them
        self.waits = given["waits"]
        self.written = given["written"]
        self.writing = given["written_ns"] / 1e9
        self.failed = bool(given["failed"])
        self.failure = given["failure"]
        self.strands = given["strands"]
        self.first = given["first"]
        self.samples = memoryview(given["samples"]).cast("Q")
        if given["ended"]:
            self.state = "ended"
        elif not given["ready"]:
            self.state = "starting"
        else:
            self.state = "waiting" if given["waiting"] else "running"

    def blocked_on(self, number, sends):
        """Seconds for which it waited at that channel."""
        return sum(s["blocked"] for s in self.strands if s["channel"] == number and s["sends"] == sends) / 1e9


class Channel:
    """A channel's account, likewise. full, empty and depth (on average) are None where nobody looked."""

    def __init__(self, given, origin, now):
        self.number = given["number"]
        self.name = given["name"]
        self.capacity = given["capacity"]
        self.alive = bool(given["alive"])
        self.began = (given["began"] - origin) / 1e9
        self.end = ((given["ended"] or now) - origin) / 1e9
        self.sent = given["sent"]
        self.received = given["received"]
        self.bytes = given["bytes"]
        self.waiting = given["waiting"]
        looked = given["watched"]
        self.full = given["full"] / looked if looked else None
        self.empty = given["empty"] / looked if looked else None
        self.depth = given["depth"] / looked if looked else None
        self.first = given["first"]
        self.samples = given["samples"]


class Accounts:
    """All of them: workers and channels in the order they came, and the moments of their samples."""

    def __init__(self):
        given = _interlace._ledger()
        now = given["now"]
        origin = min([worker["began"] for worker in given["workers"]], default=now)
        self.origin = origin  # in ns of the monotonic clock
        self.watched = bool(given["keeps"])
        self.dropped = given["dropped"]
        self.workers = [Worker(worker, origin) for worker in given["workers"]]
        self.channels = [Channel(channel, origin, now) for channel in given["channels"]]
        self.moments = [(moment - origin) / 1e9 for moment in memoryview(given["moments"]).cast("q")]
        self.seconds = max([worker.end for worker in self.workers], default=0.0)
        self.by_number = {channel.number: channel for channel in self.channels}
        self.stages = {}  # name: its workers
        alone = {worker.name for worker in self.workers}
        for worker in self.workers:
            if worker.stage != worker.name and worker.stage in alone:  # "map" is one thing, and "map-1", "map-2" another
                worker.stage += "-N"
            self.stages.setdefault(worker.stage, []).append(worker)

    def traffic(self, workers, sends):
        """{channel: (messages, bytes)} that these workers sent, or received."""
        sums = {}
        for worker in workers:
            for strand in worker.strands:
                channel = self.by_number.get(strand["channel"])
                if channel is not None and bool(strand["sends"]) == sends and strand["messages"]:
                    messages, size = sums.get(channel, (0, 0))
                    sums[channel] = messages + strand["messages"], size + strand["bytes"]
        return sums
