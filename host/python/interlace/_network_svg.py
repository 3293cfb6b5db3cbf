"""A network drawn as SVG: stages as boxes in columns, or rows, what goes between them as arrows as thick as the traffic."""

from interlace import _network, _stats
from interlace._shown import escape

WIDE, TALL = 176, 68  # of a box
_GAP = {"across": 124, "beside": 26}  # between one rank and the next; between boxes of a rank
_MARGIN = 34
_KINDS = ("starting", "busy", "input", "output", "other")

STYLE = """
.net { --ink: #1d2430; --soft: #667085; --box: #fff; --line: #c5ccd6; --flow: #8fa3bf; --hot: #d9480f;
  --busy: #2b6cb0; --input: #cfd8e6; --output: #f0b429; --other: #b9b2c9; --starting: #d9c8f2; }
.net text { font: 13px system-ui, sans-serif; fill: var(--ink); }
.net .small { font-size: 11px; fill: var(--soft); }
.net .name { font-weight: 600; }
.net .box { fill: var(--box); stroke: var(--line); stroke-width: 1.2; }
.net .failed .box { stroke: var(--hot); stroke-width: 1.5; stroke-dasharray: 5 4; }
.net .hot .box { stroke: var(--hot); stroke-width: 3; }
.net .hotname { font: 600 11px system-ui, sans-serif; fill: var(--hot); }
.net .flow { fill: none; stroke: var(--flow); opacity: .75; }
.net .flow.hot { stroke: var(--hot); }
.net .head { fill: var(--flow); }
.net .head.hot { fill: var(--hot); }
.net .plate { fill: var(--page, #fff); opacity: .85; }
""" + "".join(f".net .{kind} {{ fill: var(--{kind}); }}\n" for kind in _KINDS)

DARK = """--ink: #e6e9ef; --soft: #98a2b3; --box: #1f242d; --line: #3b4453; --flow: #5b6f8f; --hot: #ff8a4c;
  --busy: #5aa2e8; --input: #36404f; --output: #d39e22; --other: #5d5670; --starting: #6b5a8c; --page: #14171c;"""


def whole(network):
    """A file of its own, light or dark as its reader prefers."""
    style = f"{STYLE}@media (prefers-color-scheme: dark) {{ .net {{ {DARK} }} }}"
    return picture(network, style=f"<style>{style}</style>") + "\n"


def picture(network, upright=False, style="", title="network"):
    """The <svg> element; upright: from top to bottom."""
    places, width, height = _lay_out(network, upright)
    parts = [
        f'<svg class="net" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'style="max-width:{width:.0f}px" role="img" aria-label="{escape(title)}">{style}'
    ]
    labels = []
    for edge in network.edges:
        shape, label = _edge(edge, network, places, upright)
        parts.append(shape)
        labels.append(label)
    parts += [_box(node, *places[node]) for node in network.nodes]
    return "\n".join([*parts, *labels, "</svg>"])


# ---- where things are ---------------------------------------------------------------------------------------------


def _ranks(network):
    """{node: its column}: the longest way to it, not counting edges that lead back."""
    back = _back_edges(network)
    forward = [edge for edge in network.edges if edge not in back and edge.start is not edge.end]
    ranks = dict.fromkeys(network.nodes, 0)
    for _ in network.nodes:
        for edge in forward:
            ranks[edge.end] = max(ranks[edge.end], ranks[edge.start] + 1)
    for node in network.nodes:  # a source stands right before what it feeds
        ends = [ranks[edge.end] for edge in forward if edge.start is node]
        if ends and not any(edge.end is node for edge in forward):
            ranks[node] = min(ends) - 1
    least = min(ranks.values(), default=0)
    return {node: rank - least for node, rank in ranks.items()}


def _back_edges(network):
    """Edges that lead back to where a walk came from."""
    found, done, path = set(), set(), set()
    behind = {node: [edge for edge in network.edges if edge.start is node] for node in network.nodes}
    fed = {edge.end for edge in network.edges if edge.start is not edge.end}
    for root in sorted(network.nodes, key=lambda node: node in fed):
        pending = [(root, None)]
        while pending:
            node, edges = pending.pop()
            if edges is None:
                if node in done:
                    continue
                path.add(node)
                edges = iter(behind[node])
            for edge in edges:
                if edge.end in path:
                    found.add(edge)
                elif edge.end not in done:
                    pending += [(node, edges), (edge.end, None)]
                    break
            else:
                path.discard(node)
                done.add(node)
    return found


def _lay_out(network, upright):
    """{node: (x, y)} of the boxes' corners, and the size of it all."""
    ranks = _ranks(network)
    columns = {}
    for node in network.nodes:
        columns.setdefault(ranks[node], []).append(node)
    size, thick = (TALL, WIDE) if upright else (WIDE, TALL)
    most = max(map(len, columns.values()), default=1)
    breadth = most * thick + (most - 1) * _GAP["beside"]
    places = {}
    for rank, nodes in sorted(columns.items()):
        nodes.sort(key=lambda node: _pull(node, network, places))
        used = len(nodes) * thick + (len(nodes) - 1) * _GAP["beside"]
        for i, node in enumerate(nodes):
            along = _MARGIN + rank * (size + _GAP["across"] - 64 * upright)
            beside = _MARGIN + (breadth - used) / 2 + i * (thick + _GAP["beside"])
            places[node] = (beside, along) if upright else (along, beside)
    length = _MARGIN * 2 + len(columns) * size + (len(columns) - 1) * (_GAP["across"] - 64 * upright)
    breadth += 2 * _MARGIN
    return places, *((breadth, length) if upright else (length, breadth))


def _pull(node, network, places):
    """Where the nodes before it lie, so that arrows cross less."""
    sources = [sum(places[edge.start]) for edge in network.edges if edge.end is node and edge.start in places]
    return sum(sources) / len(sources) if sources else 0


# ---- what they look like ------------------------------------------------------------------------------------------


def _short(text, most=21):
    return text if len(text) <= most else text[: most - 1] + "\u2026"


def _box(node, x, y):
    middle = x + WIDE / 2
    if not node.is_stage:
        return (
            f'<g><rect class="box" x="{x + 20:.0f}" y="{y + 16:.0f}" width="{WIDE - 40}" height="{TALL - 32}" rx="18"/>'
            f'<text class="small" x="{middle:.0f}" y="{y + TALL / 2 + 4:.0f}" text-anchor="middle">{escape(node.name)}'
            "</text></g>"
        )
    second = node.label()[1]
    bar, at = [], x + 12
    for kind in ("busy", "input", "output", "other", "starting"):
        wide = (WIDE - 24) * node.share(kind)
        if wide >= 0.5:
            bar.append(f'<rect class="{kind}" x="{at:.1f}" y="{y + 50:.0f}" width="{wide:.1f}" height="7"/>')
            at += wide
    mark = ", ".join(["bottleneck"] * node.bottleneck + ["failed"] * node.failed)
    badge = f'<text class="hotname" x="{x + 4:.0f}" y="{y - 7:.0f}">{mark}</text>' if mark else ""
    shares = ", ".join(f"{kind} {_stats.percent(node.share(kind))}" for kind in _KINDS) if node.workers else ""
    return (
        f'<g class="stage{" hot" * node.bottleneck}{" failed" * node.failed}" data-stage="{escape(node.name)}" tabindex="0">'
        f"<title>{escape(node.name)}: {escape(second)}; {shares}</title>{badge}"
        f'<rect class="box" x="{x:.0f}" y="{y:.0f}" width="{WIDE}" height="{TALL}" rx="8"/>'
        f'<text class="name" x="{x + 12:.0f}" y="{y + 22:.0f}">{escape(_short(node.name))}</text>'
        f'<text class="small" x="{x + 12:.0f}" y="{y + 40:.0f}">{escape(second)}</text>{"".join(bar)}</g>'
    )


def _edge(edge, network, places, upright):
    (x1, y1), (x2, y2) = places[edge.start], places[edge.end]
    wide = _network._width(edge, network)
    inset = 20 * (not edge.start.is_stage), 20 * (not edge.end.is_stage)
    down = 16 * (not edge.start.is_stage), 16 * (not edge.end.is_stage)
    tip = 7 + wide * 0.8
    if edge.start is edge.end:  # a loop above the box
        a, b = (x1 + WIDE - 50, y1), (x1 + WIDE - 18, y1 - tip)
        path = f"M{a[0]:.0f},{a[1]:.0f} C{a[0]:.0f},{y1 - 34:.0f} {b[0]:.0f},{y1 - 34:.0f} {b[0]:.0f},{b[1]:.0f}"
        label, turn = (b[0] - 12, y1 - 20), 90
    elif upright and y2 > y1:
        a, b = (x1 + WIDE / 2, y1 + TALL - down[0]), (x2 + WIDE / 2, y2 + down[1] - tip)
        bend = (b[1] - a[1]) / 2
        path = f"M{a[0]:.0f},{a[1]:.0f} C{a[0]:.0f},{a[1] + bend:.0f} {b[0]:.0f},{b[1] - bend:.0f} {b[0]:.0f},{b[1]:.0f}"
        label, turn = ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2), 90
    elif not upright and x2 > x1:
        a, b = (x1 + WIDE - inset[0], y1 + TALL / 2), (x2 + inset[1] - tip, y2 + TALL / 2)
        bend = (b[0] - a[0]) / 2
        path = f"M{a[0]:.0f},{a[1]:.0f} C{a[0] + bend:.0f},{a[1]:.0f} {b[0] - bend:.0f},{b[1]:.0f} {b[0]:.0f},{b[1]:.0f}"
        label, turn = ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2), 0
    elif upright:  # back, on the right
        a, b = (x1 + WIDE, y1 + TALL / 2 + 10), (x2 + WIDE + tip, y2 + TALL / 2 + 10)
        out = max(a[0], b[0]) + 26
        path = f"M{a[0]:.0f},{a[1]:.0f} C{out:.0f},{a[1]:.0f} {out:.0f},{b[1]:.0f} {b[0]:.0f},{b[1]:.0f}"
        label, turn = (out - 20, (a[1] + b[1]) / 2), 180
    else:  # back, below
        a, b = (x1 + WIDE / 2, y1 + TALL), (x2 + WIDE / 2, y2 + TALL + tip)
        low = max(a[1], b[1]) + 30
        path = f"M{a[0]:.0f},{a[1]:.0f} C{a[0]:.0f},{low:.0f} {b[0]:.0f},{low:.0f} {b[0]:.0f},{b[1]:.0f}"
        label, turn = ((a[0] + b[0]) / 2, low - 9), 270
    hot = " hot" if edge.bottleneck else ""
    half = 3 + wide * 0.7
    head = (
        f'<path class="head{hot}" transform="translate({b[0]:.1f} {b[1]:.1f}) rotate({turn})" '
        f'd="M{tip:.1f},0 L-1,{half:.1f} L-1,{-half:.1f} Z"/>'
    )
    shape = (
        f'<g><title>{escape(edge.channel)}: {escape(edge.label())}, {_stats.bytes_text(edge.bytes)}</title>'
        f'<path class="flow{hot}" stroke-width="{wide:.1f}" d="{path}"/>{head}</g>'
    )
    text = "" if edge.messages is None else edge.label()
    if turn == 0:  # above the arrow
        label = label[0], label[1] - wide / 2 - 9
    if not text:
        return shape, ""
    plate = len(text) * 5.8 + 8
    return shape, (
        f'<rect class="plate" x="{label[0] - plate / 2:.0f}" y="{label[1] - 9:.0f}" width="{plate:.0f}" height="17" rx="4"/>'
        f'<text class="small" x="{label[0]:.0f}" y="{label[1] + 4:.0f}" text-anchor="middle">{escape(text)}</text>'
    )
