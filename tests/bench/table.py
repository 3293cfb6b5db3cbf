"""The table for people, and the object for programs."""

import textwrap

import rows

COLUMNS = 110


def amount(value, unit):
    """Write a value in three or four digits: 0.574, 3.17, 71.8, 10,123, 1.09 M."""
    if unit == "/s" and value >= 1e6:
        return f"{value / 1e6:.2f} M"
    if value >= 1000:
        return f"{value:,.0f}"
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}" if value >= 1 else f"{value:.3f}".rstrip("0").rstrip(".")


def times(value):
    """Write a ratio: 0.42x, 3.1x, 2,180x."""
    if value >= 10:
        return f"{value:,.0f}x"
    return f"{value:.1f}x" if value >= 1 else f"{value:.2f}x" if value >= 0.1 else f"{value:.1g}x"


def _compared(row, peers):
    """Name peers, the best first, with their values and ratios."""
    return [
        f"{peer} {amount(row['peers'][peer], row['unit'])} ({_times(row, peer)})"
        for peer in sorted(peers, key=lambda peer: _merit(row, peer))
    ]


def _times(row, peer):
    return times(_merit(row, peer))


def _line(row):
    """Return the cells of a row, and what stands below them."""
    peers = [peer for peer in row["peers"] if not rows.is_limit(peer)]
    limits = [peer for peer in row["peers"] if rows.is_limit(peer)]
    best = min(peers, key=lambda peer: _merit(row, peer), default=None)
    others = _compared(row, [peer for peer in peers if peer != best])
    scale = _compared(row, limits)
    cells = (
        row["name"],
        row["unit"],
        amount(row["interlace"], row["unit"]),
        "-" if row["spread"] is None else f"{row['spread'] * 100:.0f} %",
        amount(row["peers"][best], row["unit"]) if best else "",
        _times(row, best) if best else "",
        best or "",
    )
    below = [("others:", others)] * bool(others) + [("for scale:", scale)] * bool(scale)
    return cells, below


def _merit(row, peer):
    """How many times better than it we are."""
    return rows.ratio(row["unit"], row["interlace"], row["peers"][peer])


def lines(measured):
    """Yield the lines of the table."""
    head = ("row", "unit", "interlace", "spread", "best peer", "ratio", "")
    table = [(head, [])] + [_line(row) for row in measured]
    widths = [max(len(cells[i]) for cells, _ in table) for i in range(7)]
    for cells, below in table:
        yield "  ".join(
            cell.ljust(width) if i in (0, 1, 6) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths))
        ).rstrip()
        for title, entries in below:
            text = ", ".join(entries).replace(" ", "\N{NO-BREAK SPACE}").replace(",\N{NO-BREAK SPACE}", ", ")
            for line in textwrap.wrap(
                text,
                COLUMNS,
                initial_indent=f"    {title} ",
                subsequent_indent=" " * 8,
                break_on_hyphens=False,
            ):
                yield line.replace("\N{NO-BREAK SPACE}", " ")


def foot(machine):
    """Yield the lines that say what was measured, and where."""
    yield "ratio: how many times better Interlace is, by the medians of this run; below 1 it is worse."
    yield "spread: the middle half of the repetitions, as a part of their median."
    yield (
        f"{machine['date']}, {machine['repetitions']} repetitions of {machine['seconds']} s; "
        f"{machine['cores']} cores of {machine['cpu']},"
    )
    yield (
        f"{machine['memory']}, {machine['kernel']}, Python {machine['python']}; "
        f"load before: {machine['load_before']}"
    )
