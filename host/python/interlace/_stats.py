"""interlace.stats(), and the tables of --stats."""

from interlace import _accounts
from interlace._shown import printable


def stats():
    """Return what the workers and channels that are there now have done so far, as a dict of plain things.

    'workers' is a list of dicts, one for each worker in the order they were started: 'name' (str), 'id' (int),
    'state' ('starting', 'running', 'waiting', 'ended'), and in seconds (float) where its time went: 'starting' its
    interpreter, 'busy', waiting for 'input' (a message), for 'output' (room in a channel, or standard output) and
    for 'other' things (a worker's end, a timer, a permit); 'seconds' is all of it, 'cpu' what its thread had of a
    CPU, 'waits' (int) how often it waited. The wait of an asyncio event loop counts as busy.

    'channels' likewise: 'name' (str), 'capacity', 'sent' and 'received' messages, 'bytes', messages 'waiting' now
    (int), and, under --stats, --report, --trace and --metrics, the share of time for which it was 'full' and 'empty'
    (float, 0 to 1); without those both are None. With those options, workers and channels that are gone are among
    them, too.

        sender, receiver = interlace.channel(4, name='numbers')
        sender.send_many([1, 2, 3])
        for channel in interlace.stats()['channels']:
            print(channel['name'], channel['sent'], channel['waiting'])    # numbers 3 3
    """
    accounts = _accounts.Accounts()
    return {
        "workers": [_worker(worker) for worker in accounts.workers],
        "channels": [_channel(channel) for channel in accounts.channels],
    }


_WORKER = ("name", "id", "state", "seconds", "starting", "busy", "input", "output", "other", "cpu", "waits")
_CHANNEL = ("name", "capacity", "sent", "received", "bytes", "waiting", "full", "empty")


def _worker(worker):
    return {key: getattr(worker, key) for key in _WORKER}


def _channel(channel):
    return {key: getattr(channel, key) for key in _CHANNEL}


# ---- as text ------------------------------------------------------------------------------------------------------

_MOST_ROWS = 24


def bytes_text(n):
    """A number of bytes, for people."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if n < 1024 or unit == "TiB":
            return f"{n:,} {unit}" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1024


def percent(part, whole=1.0):
    return f"{100 * part / whole:.0f} %" if whole > 0 else "-"


def _columns(rows):
    """Lines of text: the first column to the left, all others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        yield "  ".join(cells).rstrip()


def _shortened(name, most=32):
    text = printable(name)
    return text if len(text) <= most else text[: most - 3] + "..."


def _worker_rows(accounts):
    yield ["worker", "time", "starting", "busy", "input", "output", "other", "CPU"]
    rows = [(worker.name, [worker]) for worker in accounts.workers]
    if len(rows) > _MOST_ROWS:
        rows = [(f"{stage} ({len(them)})", them) for stage, them in accounts.stages.items()]
    for name, workers in rows[:_MOST_ROWS]:
        whole = sum(worker.seconds for worker in workers)
        shares = [percent(sum(getattr(worker, kind) for worker in workers), whole) for kind in _SHARES]
        yield [_shortened(name), f"{whole / len(workers):.2f} s", *shares]
    if len(rows) > _MOST_ROWS:
        yield [f"and {len(rows) - _MOST_ROWS} more"] + [""] * 7


_SHARES = ("starting", "busy", "input", "output", "other", "cpu")


def _channel_rows(accounts):
    yield ["channel", "messages", "bytes", "full", "empty", "waiting", "capacity"]
    used = sorted((c for c in accounts.channels if c.sent), key=lambda channel: -channel.sent)
    shown = set(used[:_MOST_ROWS])
    for channel in accounts.channels:
        if channel not in shown:
            continue
        yield [
            _shortened(channel.name),
            f"{channel.sent:,}",
            bytes_text(channel.bytes),
            "-" if channel.full is None else percent(channel.full),
            "-" if channel.empty is None else percent(channel.empty),
            "-" if channel.depth is None else f"{channel.depth:.1f}",
            f"{channel.capacity:,}",
        ]
    if len(used) > len(shown):
        yield [f"and {len(used) - len(shown)} more"] + [""] * 6


def tables(accounts):
    """The tables of --stats, as text."""
    lines = [*_columns(list(_worker_rows(accounts)))]
    channels = list(_channel_rows(accounts))
    if len(channels) > 1:
        lines += ["", *_columns(channels)]
    if accounts.dropped:
        lines += ["", f"{accounts.dropped:,} more workers and channels came and went than accounts are kept of"]
    return "\n".join(lines) + "\n"
