"""The table for people, and the object for programs."""

import textwrap

import rows

OTHERS = 62  # columns of the last one


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
    return f"{value:,.0f}x" if value >= 10 else f"{value:.1f}x" if value >= 1 else f"{value:.2f}x"


def _compared(row, peer, value):
    return f"{peer} {amount(value, row['unit'])} ({times(rows.ratio(row['unit'], row['interlace'], value))})"


def _line(row):
    """Return the cells of a row."""
    peers = row["peers"]
    by_merit = sorted((p for p in peers if not rows.is_limit(p)), key=lambda p: _merit(row, p))
    limits = sorted((p for p in peers if rows.is_limit(p)), key=lambda p: _merit(row, p))
    best, others = by_merit[:1], by_merit[1:]
    text = ", ".join(_compared(row, peer, peers[peer]) for peer in others)
    if limits:
        text += ("; " if text else "") + "for scale: "
        text += ", ".join(_compared(row, peer, peers[peer]) for peer in limits)
    return (
        row["name"],
        row["unit"],
        amount(row["interlace"], row["unit"]),
        f"{row['spread'] * 100:.0f} %",
        f"{best[0]} {amount(peers[best[0]], row['unit'])}" if best else "",
        times(rows.ratio(row["unit"], row["interlace"], peers[best[0]])) if best else "",
        text,
    )


def _merit(row, peer):
    """The best first."""
    return rows.ratio(row["unit"], row["interlace"], row["peers"][peer])


def lines(measured):
    """Yield the lines of the table."""
    table = [("row", "unit", "interlace", "spread", "best peer", "ratio", "other peers (ratio)")]
    table += [_line(row) for row in measured]
    widths = [max(len(cells[i]) for cells in table) for i in range(6)]
    for cells in table:
        cut = textwrap.wrap(cells[6], OTHERS, break_on_hyphens=False) or [""]
        start = "  ".join(
            cell.rjust(width) if i in (2, 3, 5) else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(cells, widths))
        )
        yield f"{start}  {cut[0]}".rstrip()
        for more in cut[1:]:
            yield " " * (len(start) + 2) + more


def foot(machine):
    """Yield the lines that say what was measured, and where."""
    yield "ratio: how many times better Interlace is, by the medians of this run; below 1 it is worse."
    yield "spread: the middle half of the repetitions, as a part of their median."
    yield (
        f"{machine['repetitions']} repetitions of {machine['seconds']} s, {machine['date']}: {machine['cpu']}, "
        f"{machine['cores']} cores, {machine['memory']}, {machine['kernel']}, Python {machine['python']}"
    )
