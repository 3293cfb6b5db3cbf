"""The charts of --report, as SVG: they stretch with the page, so there is no text inside."""

import struct

_KINDS = ("busy", "input", "output", "other")
_STEPS = 160  # at most, across a chart
_WIDTH, _HEIGHT = 1000, 100


def _worker_points(accounts, worker):
    """[(moment, {kind: seconds so far})], with where it began and ended."""
    zero = dict.fromkeys(_KINDS, 0.0)
    points = [(worker.ready, zero)]
    for i in range(len(worker.samples) // 4):
        moment = accounts.moments[worker.first + i]
        if worker.ready < moment < worker.end:
            given = worker.samples[4 * i : 4 * i + 3]
            waited = {kind: n / 1e9 for kind, n in zip(("input", "output", "other"), given)}
            points.append((moment, {"busy": moment - worker.ready - sum(waited.values()), **waited}))
    points.append((worker.end, {kind: getattr(worker, kind) for kind in _KINDS}))
    return points


def _thinned(points, seconds):
    """So many of the points that the steps between them can be told apart, the first and the last among them."""
    kept = points[:1]
    for point in points[1:]:
        if point[0] - kept[-1][0] >= seconds / _STEPS:
            kept.append(point)
    if kept[-1] is not points[-1]:
        kept[len(kept) - (len(kept) > 1) :] = points[-1:]  # the last step is a longer one
    return kept


def strip(accounts, worker):
    """Where a worker's time went: at each moment, the kinds above one another, which make the whole height."""
    across = _WIDTH / accounts.seconds if accounts.seconds else 0
    outlines = {kind: [] for kind in _KINDS}
    points = _thinned(_worker_points(accounts, worker), accounts.seconds)
    for (start, before), (end, after) in zip(points, points[1:]):
        spent = {kind: max(0.0, after[kind] - before[kind]) for kind in _KINDS}
        whole = sum(spent.values())
        if end <= start or whole <= 0:
            continue
        low = 0.0
        for kind in _KINDS:
            high = low + spent[kind] / whole
            if high - low > 0.004:
                outlines[kind].append(
                    f"M{start * across:.1f},{_HEIGHT * (1 - low):.0f}V{_HEIGHT * (1 - high):.0f}"
                    f"H{end * across + 0.4:.1f}V{_HEIGHT * (1 - low):.0f}Z"
                )
            low = high
    paths = "".join(f'<path class="{kind}" d="{"".join(them)}"/>' for kind, them in outlines.items() if them)
    began, ready = worker.began * across, worker.ready * across
    paths += f'<path class="starting" d="M{began:.1f},0H{ready:.1f}V{_HEIGHT}H{began:.1f}Z"/>'
    return _svg("strip", paths)


def axis(seconds):
    """Marks of time: some five, at round numbers."""
    if seconds <= 0:
        return '<span class="marks"></span>'
    step = 10.0**-6
    while seconds / step > 6:
        for factor in (2, 2.5, 2):  # 1, 2, 5, 10
            step *= factor
            if seconds / step <= 6:
                break
    marks, at = [], 0.0
    while at <= seconds * 0.92:
        marks.append(f'<i style="left:{100 * at / seconds:.2f}%">{at:g}{" s" * (at > 0)}</i>')
        at = round(at + step, 9)
    return f'<span class="marks">{"".join(marks)}</span>'


def channel(accounts, given):
    """(the highest rate of messages a second, the chart of depth and rate)."""
    samples = list(struct.iter_unpack("=Qd", given.samples))
    points = [(given.began, 0, 0.0)]
    for i, (received, depth) in enumerate(samples):
        moment = accounts.moments[given.first + i]
        if moment > points[-1][0]:
            points.append((moment, received, depth / 1e9))
    points = _thinned(points, accounts.seconds)
    steps = [
        (start, end, (after - before) / (end - start), max(0.0, (deep_after - deep_before) / (end - start)))
        for (start, before, deep_before), (end, after, deep_after) in zip(points, points[1:])
    ]
    across = _WIDTH / accounts.seconds if accounts.seconds else 0
    most_rate = max((rate for _, _, rate, _ in steps), default=0.0)
    most_depth = max([given.capacity, 1, *(depth for *_, depth in steps)])
    area, line = [f"M{given.began * across:.1f},{_HEIGHT}"], []
    for start, end, rate, depth in steps:
        high = _HEIGHT * (1 - 0.94 * depth / most_depth)
        area.append(f"L{start * across:.1f},{high:.1f}L{end * across:.1f},{high:.1f}")
        middle = (start + end) / 2 * across
        line.append(f"{'L' if line else 'M'}{middle:.1f},{_HEIGHT * (1 - 0.9 * rate / most_rate if most_rate else 1):.1f}")
    area.append(f"L{(steps[-1][1] if steps else given.began) * across:.1f},{_HEIGHT}Z")
    top = _HEIGHT * (1 - 0.94 * given.capacity / most_depth)
    parts = (
        f'<path class="room" d="M0,{top:.1f}H{_WIDTH}"/><path class="depth" d="{"".join(area)}"/>'
        f'<path class="rate" d="{"".join(line)}"/>'
    )
    return most_rate, _svg("chart", parts)


def _svg(name, inside):
    return (
        f'<svg class="{name}" viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" aria-hidden="true">{inside}</svg>'
    )
