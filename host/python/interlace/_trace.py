"""The file of --trace: what each thread did, in the JSON that Perfetto and chrome://tracing read.

A track for each worker, with slices for running and waiting; an arrow for each message, from where it was sent to where it
was received; a counter for each channel's depth. Events: see channels/trace.h.
"""

import collections
import json
import struct

import _interlace

_EVENT = struct.Struct("=qQQIHH")
_SENT, _RECEIVED, _WAITED = 1, 2, 3
_WAITS = ("waiting for a message", "waiting for room", "waiting")
_PROCESS = 1
_OTHERS = 1_000_000  # threads that are no worker's: their numbers on from here


class _Track:
    """One thread's events, in order of time, or those of all that a worker had; tid is its number in the file."""

    def __init__(self, tid, name):
        self.tid = tid
        self.name = name
        self.events = []
        self.lost = 0

    def add(self, count, events):
        new = list(_EVENT.iter_unpack(events))
        self.events = sorted(self.events + new)
        self.lost += count - len(new)


def _tracks(accounts):
    names = {worker.id: worker.name for worker in accounts.workers}
    tracks = {}
    for number, (owner, thread, count, events) in enumerate(reversed(_interlace._tracks())):
        tid = owner or _OTHERS + number
        tracks.setdefault(tid, _Track(tid, names.get(owner, thread))).add(count, events)  # restarted: many threads, one track
    return list(tracks.values())


class _Writer:
    def __init__(self, accounts):
        self.origin = accounts.origin
        self.channels = {channel.number: channel for channel in accounts.channels}
        self.quoted = {channel.number: json.dumps(channel.name) for channel in accounts.channels}

    def us(self, time):
        return f"{(time - self.origin) / 1000:.3f}"

    def slice(self, track, name, start, end, **args):
        more = f',"args":{json.dumps(args)}' if args else ""
        return (
            f'{{"ph":"X","pid":{_PROCESS},"tid":{track},"name":{json.dumps(name)},"cat":"worker",'
            f'"ts":{self.us(start)},"dur":{max(end - start, 0) / 1000:.3f}{more}}}'
        )

    def named(self, kind, tid, **args):
        return f'{{"ph":"M","pid":{_PROCESS},"tid":{tid},"name":"{kind}","args":{json.dumps(args)}}}'

    def slices(self, track, start, end):
        """Running and waiting, from `start` on: in ns, as the events have it."""
        at = start
        for time, span, _, channel, kind, what in track.events:
            if kind != _WAITED:
                continue
            if time > at:
                yield self.slice(track.tid, "running", at, time)
            name = _WAITS[what] if what < len(_WAITS) else _WAITS[-1]
            if channel in self.channels:
                yield self.slice(track.tid, name, time, time + span, channel=self.channels[channel].name)
            else:
                yield self.slice(track.tid, name, time, time + span)
            at = max(at, time + span)
        if end > at:
            yield self.slice(track.tid, "running", at, end)

    def flows(self, tracks):
        """An arrow for each message both of whose ends are there; one that came back has an arrow for each time."""
        sent = {}
        times = collections.Counter()
        for track in tracks:
            for time, _, sequence, channel, kind, _ in track.events:
                if kind == _SENT:
                    sent[channel, sequence] = track.tid, time
        for track in tracks:
            for time, _, sequence, channel, kind, _ in track.events:
                if kind != _RECEIVED or (channel, sequence) not in sent:
                    continue
                start, began = sent[channel, sequence]
                times[channel, sequence] += 1
                again = f".{times[channel, sequence]}" if times[channel, sequence] > 1 else ""
                same = (
                    f'"pid":{_PROCESS},"cat":"message","name":{self.quoted.get(channel, "null")},'
                    f'"id":"{channel}.{sequence}{again}"'
                )
                yield f'{{"ph":"s","tid":{start},"ts":{self.us(began)},{same}}}'
                yield f'{{"ph":"f","bp":"e","tid":{track.tid},"ts":{self.us(max(time, began))},{same}}}'

    def depths(self, tracks):
        for track in tracks:
            for time, depth, _, channel, kind, _ in track.events:
                if kind in (_SENT, _RECEIVED) and channel in self.channels:
                    name = json.dumps(f"{self.channels[channel].name} ({channel})")
                    yield f'{{"ph":"C","pid":{_PROCESS},"name":{name},"ts":{self.us(time)},"args":{{"waiting":{depth}}}}}'


def _lives(writer, accounts, tracks):
    """The workers' tracks, and then those of other threads."""
    of_worker = {track.tid: track for track in tracks}
    for worker in accounts.workers:
        track = of_worker.pop(worker.id, None) or _Track(worker.id, worker.name)
        began, ready, end = (accounts.origin + round(moment * 1e9) for moment in (worker.began, worker.ready, worker.end))
        yield writer.named("thread_name", worker.id, name=worker.name)
        yield writer.named("thread_sort_index", worker.id, sort_index=worker.id)
        yield writer.slice(worker.id, "starting", began, ready)
        start = max(ready, track.events[0][0]) if track.lost else ready
        yield from writer.slices(track, start, max([end, *(event[0] for event in track.events[-1:])]))
    for track in of_worker.values():
        if any(event[4] != _WAITED for event in track.events):  # not what the host itself waits for
            yield writer.named("thread_name", track.tid, name=track.name)
            yield from writer.slices(track, track.events[0][0], track.events[-1][0] + 1000)


def pieces(accounts, words):
    """Yield the text of the file, piece by piece."""
    tracks = _tracks(accounts)
    writer = _Writer(accounts)
    lost = {track.name: track.lost for track in tracks if track.lost}
    about = {"command": " ".join(words), "events lost, of the oldest": lost}
    yield f'{{"displayTimeUnit":"ms","otherData":{json.dumps(about)},"traceEvents":[\n'
    yield writer.named("process_name", 0, name="interlace")
    for part in (_lives(writer, accounts, tracks), writer.flows(tracks), writer.depths(tracks)):
        for event in part:
            yield ",\n" + event
    yield "\n]}\n"
