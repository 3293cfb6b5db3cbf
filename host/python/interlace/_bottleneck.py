"""Which part of a run held up the rest: one sentence.

A bottleneck is busy while others wait: for what comes out of it, or for room in front of it. So the stage (the replicas of
one script or function) that was busy for the largest part of the run is it, unless something outside was waited for longer
still. Where nothing was busy for most of the time, a channel may be what made both its sides wait in turn.
"""

import os

from interlace import _stats

_CLEAR = 0.5  # a share of the run: less is no bottleneck
_BOTH_WAIT = 0.15  # a channel is too small when those before it and those behind it wait for more than this
_UNEVEN = 0.6  # replicas are unbalanced when their mean is less than this part of the busiest
_OUTSIDE = 0.3  # a busy stage that had less than this part of its time on a CPU waited for something


class Verdict:
    """sentence; and what it names: workers (a list), and a channel or None."""

    def __init__(self, sentence, workers=(), channel=None):
        self.sentence = sentence
        self.workers = list(workers)
        self.channel = channel


class _Run:
    def __init__(self, accounts):
        self.accounts = accounts

    def share(self, workers, spent):
        """The part of the run that they spent so, on average; the time in which they could not yet do anything is none."""
        shares = [spent(w) / max(self.accounts.seconds - w.starting, 1e-9) for w in workers]
        return sum(shares) / len(shares)

    def busy(self, workers):
        return self.share(workers, lambda worker: worker.busy)


def find(accounts):
    """Return the Verdict on a run."""
    workers = [worker for worker in accounts.workers if worker.seconds > 0]
    if not workers:
        return Verdict("no worker ran")
    run = _Run(accounts)
    busiest = max(workers, key=lambda worker: worker.busy)
    outside = [one for one in (_standard_input(run), _standard_output(run)) if one is not None]
    if len(workers) == 1 and max(score for score, _ in outside) < _CLEAR:
        return Verdict(f"{busiest.name} ran alone: {_stats.percent(run.busy([busiest]))} busy", [busiest])
    stages = sorted(accounts.stages.values(), key=run.busy, reverse=True)
    candidates = [*outside, _unbalanced(run, busiest), _busiest(run, stages)]
    score, verdict = max((one for one in candidates if one is not None), key=lambda one: one[0])
    if score < 1 - _BOTH_WAIT:
        tight = _too_small(run)
        if tight is not None and tight[0] > 1 - score - _BOTH_WAIT:
            return tight[1]
    if score < _CLEAR:
        return Verdict(f"nothing was a bottleneck: the busiest was {_is(run, stages[0])}", stages[0])
    return verdict


def _count(workers):
    return f"{len(workers)} worker{'s' * (len(workers) > 1)}"


def _is(run, workers):
    return f"{workers[0].stage if len(workers) > 1 else workers[0].name}, {_stats.percent(run.busy(workers))} busy"


def _main(run, workers, sends):
    """The channel that most of their messages go through, or None."""
    traffic = run.accounts.traffic(workers, sends)
    return max(traffic, key=lambda channel: traffic[channel][0], default=None)


def _channels(run, workers):
    """What the channels around a stage say of it: its input full, its output empty."""
    words = []
    before, behind = _main(run, workers, False), _main(run, workers, True)
    if before is not None and before.full is not None and before.full >= 0.1:
        words.append(f"its input full {_stats.percent(before.full)} of the time")
    if behind is not None and behind.empty is not None and behind.empty >= 0.1 and (before is None or not words):
        words.append(f"its output empty {_stats.percent(behind.empty)} of the time")
    return words


def _outside(run, workers):
    """What a stage waits for that is not ours."""
    busy, cpu, queued = (sum(getattr(worker, kind) for worker in workers) for kind in ("busy", "cpu", "queued"))
    if busy > 0 and queued > (1 - _OUTSIDE) * busy:
        return f" ({_stats.percent(queued, busy)} of that without a CPU, which other threads or programs had)"
    if busy > 0 and cpu < _OUTSIDE * (busy - queued):
        return (
            f" (only {_stats.percent(cpu, busy)} of that on a CPU: it waited for something outside, as a file, a program, "
            "the network, a sleep)"
        )
    return ""


def _machine(run):
    """Whether there was no CPU left for more."""
    cpus = len(os.sched_getaffinity(0))
    used = sum(worker.cpu for worker in run.accounts.workers) / max(run.accounts.seconds, 1e-9)
    if used > 0.9 * cpus and cpus > 1:
        return [f"all {cpus} CPUs were taken"]
    return []


def _busiest(run, stages):
    workers = stages[0]
    details = [*_channels(run, workers), *_machine(run)]
    what = f"{_count(workers)} {_stats.percent(run.busy(workers))} busy{_outside(run, workers)}"
    name = workers[0].stage if len(workers) > 1 else workers[0].name
    sentence = f"{name} is the bottleneck: {', '.join([what, *details])}"
    return run.busy(workers), Verdict(sentence, workers, _main(run, workers, False))


def _unbalanced(run, busiest):
    """One replica that has most of its stage's work."""
    workers = run.accounts.stages[busiest.stage]
    mean = run.busy(workers)
    if len(workers) < 2 or mean > _UNEVEN * run.busy([busiest]):
        return None
    rest = [worker for worker in workers if worker is not busiest]
    others = "the other one" if len(rest) == 1 else f"the other {len(rest)} of its stage"
    sentence = (
        f"{busiest.name} is the bottleneck: {_stats.percent(run.busy([busiest]))} busy, {others} only "
        f"{_stats.percent(run.busy(rest))}: the work is spread unevenly"
    )
    return run.busy([busiest]), Verdict(sentence, [busiest], _main(run, [busiest], False))


def _sources(run):
    return [channel for channel in run.accounts.channels if channel.name == "standard input" and channel.received]


def _standard_input(run):
    for channel in _sources(run):
        readers = [w for w in run.accounts.workers if channel in run.accounts.traffic([w], False)]
        if readers:
            waited = run.share(readers, lambda worker: worker.blocked_on(channel.number, False))
            share = f"{_stats.percent(waited)} of the time"
            sentence = f"standard input is the bottleneck: {readers[0].stage} waited for it {share}"
            return waited, Verdict(sentence, [], channel)
    return None


def _standard_output(run):
    writer = max(run.accounts.workers, key=lambda worker: worker.writing)
    waited = run.share([writer], lambda worker: worker.writing)
    sentence = f"standard output is the bottleneck: {writer.name} waited for its reader {_stats.percent(waited)} of the time"
    return waited, Verdict(sentence, [])


def _too_small(run):
    """(share of time lost at it, Verdict) of the channel where both sides wait in turn for one another, or None."""
    worst = None
    for channel in run.accounts.channels:
        senders = [w for w in run.accounts.workers if channel in run.accounts.traffic([w], True)]
        receivers = [w for w in run.accounts.workers if channel in run.accounts.traffic([w], False)]
        if not senders or not receivers:
            continue
        for_room = run.share(senders, lambda worker: worker.blocked_on(channel.number, True))
        for_more = run.share(receivers, lambda worker: worker.blocked_on(channel.number, False))
        lost = min(for_room, for_more)
        if lost > _BOTH_WAIT and (worst is None or lost > worst[0]):
            sentence = (
                f"the channel {channel.name!r} is the bottleneck: with room for {channel.capacity:,} "
                f"message{'s' * (channel.capacity != 1)} both its sides wait in turn, {senders[0].stage} "
                f"{_stats.percent(for_room)} of the time for room and {receivers[0].stage} {_stats.percent(for_more)} for "
                "messages; a larger capacity lets them work at once"
            )
            worst = lost, Verdict(sentence, [], channel)
    return worst
