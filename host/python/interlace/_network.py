"""The network of a run, or of a pipeline that has not run: its stages, what goes between them; as DOT, Mermaid or SVG."""

import re

from interlace import _stats
from interlace._shown import legible

INPUT, OUTPUT, OUTSIDE = "standard input", "standard output", "outside"


class Node:
    """A stage: the replicas of one script or function; or one of the three above (workers is then empty)."""

    def __init__(self, name, workers=(), count=0):
        self.name = name
        self.workers = list(workers)
        self.count = count or len(self.workers)
        self.bottleneck = False
        self.failed = any(worker.failed for worker in self.workers)

    @property
    def is_stage(self):
        return self.count > 0

    def share(self, kind):
        """The part of its workers' time that went there."""
        whole = sum(worker.seconds for worker in self.workers)
        return sum(getattr(worker, kind) for worker in self.workers) / whole if whole else 0.0

    def label(self):
        if not self.is_stage:
            return [self.name]
        words = f"{self.count} workers" if self.count > 1 else "1 worker"
        return [self.name, f"{words}, {_stats.percent(self.share('busy'))} busy" if self.workers else words]


class Edge:
    """What goes from one node to another through a channel. messages is None where nothing has been counted."""

    def __init__(self, start, end, channel, messages=None, size=0, bottleneck=False):
        self.start, self.end = start, end
        self.channel = channel
        self.messages = messages
        self.bytes = size
        self.bottleneck = bottleneck

    def label(self):
        if self.messages is None:
            return self.channel
        if self.end.name == OUTPUT and not self.end.is_stage:
            return _stats.bytes_text(self.bytes)
        return f"{self.messages:,} message{'s' * (self.messages != 1)}"


class Network:
    def __init__(self, nodes, edges):
        self.nodes = nodes
        self.edges = edges


def of_run(accounts, verdict):
    """The network of a run that is over."""
    nodes = {stage: Node(stage, workers) for stage, workers in accounts.stages.items()}
    for node in nodes.values():
        node.bottleneck = bool(set(node.workers) & set(verdict.workers))
    others, edges = {}, []

    def other(name):
        return others.setdefault(name, Node(name))

    senders = {name: accounts.traffic(node.workers, True) for name, node in nodes.items()}
    receivers = {name: accounts.traffic(node.workers, False) for name, node in nodes.items()}
    for channel in accounts.channels:
        sent = [(nodes[name], *sums[channel]) for name, sums in senders.items() if channel in sums]
        received = [(nodes[name], *sums[channel]) for name, sums in receivers.items() if channel in sums]
        if not sent and received:
            start = other(INPUT if channel.name == INPUT else OUTSIDE)
            sent = [(start, channel.sent, channel.bytes)]
        if sent and not received and channel.received:
            received = [(other(OUTSIDE), channel.received, channel.bytes)]
        whole = sum(messages for _, messages, _ in received) or 1
        marked = verdict.channel is channel and not verdict.workers
        for start, messages, size in sent:
            for end, taken, _ in received:
                edges.append(Edge(start, end, channel.name, round(messages * taken / whole), size * taken // whole, marked))
    for node in nodes.values():
        written = sum(worker.written for worker in node.workers)
        if written:
            edges.append(Edge(node, other(OUTPUT), OUTPUT, 0, written))
    return Network([*nodes.values(), *others.values()], _merged(edges))


def _merged(edges):
    """One edge for all channels of one name, and for those without one, between the same two nodes."""
    found = {}
    for edge in edges:
        unnamed = re.fullmatch(r"channel-\d+", edge.channel)
        key = edge.start, edge.end, None if unnamed else edge.channel
        if key in found:
            if unnamed:
                found[key].channel = "several channels"
            found[key].messages += edge.messages
            found[key].bytes += edge.bytes
            found[key].bottleneck |= edge.bottleneck
        else:
            found[key] = edge
    return list(found.values())


def of_pipe(stages):
    """The network of `interlace pipe`, from its stages: (name, replicas) each."""
    nodes = [Node(INPUT), *(Node(name, count=count) for name, count in stages), Node(OUTPUT)]
    names = [INPUT, *(f"stage {i} to {i + 1}" for i in range(1, len(stages))), OUTPUT]
    return Network(nodes, [Edge(a, b, name) for a, b, name in zip(nodes, nodes[1:], names)])


# ---- as text ------------------------------------------------------------------------------------------------------


def drawn(network, form):
    """The text of a network: form is "dot", "mermaid" or "svg"."""
    if form == "svg":
        from interlace import _network_svg

        return _network_svg.whole(network)
    return {"dot": _dot, "mermaid": _mermaid}[form](network)


def _width(edge, network):
    """The thickness of an edge: 1 to 8, by the number of its messages."""
    most = max((other.messages or 0 for other in network.edges), default=0)
    return 1 + 7 * ((edge.messages or 0) / most) ** 0.5 if most else 2


def _dot(network):
    ids = {node: f"n{i}" for i, node in enumerate(network.nodes)}
    lines = ["digraph network {", "  rankdir=LR;", '  node [shape=box, style=rounded, fontname="sans-serif"];']
    lines.append('  edge [fontname="sans-serif", fontsize=10];')
    for node in network.nodes:
        shape = ", color=red, penwidth=3" if node.bottleneck else "" if node.is_stage else ", shape=plaintext"
        lines.append(f"  {ids[node]} [label={_dot_text(node.label())}{shape}];")
    for edge in network.edges:
        color = ", color=red" if edge.bottleneck else ""
        label = [edge.channel] if edge.messages is None or edge.channel == OUTPUT else [edge.channel, edge.label()]
        if edge.channel in (INPUT, OUTPUT):
            label = [edge.label()] if edge.messages is not None else []
        text = f"label={_dot_text(label)}, " if label else ""
        lines.append(f"  {ids[edge.start]} -> {ids[edge.end]} [{text}penwidth={_width(edge, network):.1f}{color}];")
    return "\n".join(lines) + "\n}\n"


def _line(text):
    """The text in one line, of characters that an SVG made of it can have."""
    return re.sub(r"\s", " ", legible(text))


def _dot_text(lines):
    """In quotes, where Graphviz reads HTML's entities, too."""
    escapes = {"\\": "\\\\", '"': '\\"', "&": "&amp;"}
    return '"' + "\\n".join(_line(line).translate(str.maketrans(escapes)) for line in lines) + '"'


def _mermaid(network):
    ids = {node: f"n{i}" for i, node in enumerate(network.nodes)}
    lines = ["flowchart LR"]
    for node in network.nodes:
        text = _mermaid_text(node.label())
        lines.append(f"  {ids[node]}[{text}]" if node.is_stage else f"  {ids[node]}([{text}])")
    for edge in network.edges:
        lines.append(f"  {ids[edge.start]} -->|{_mermaid_text([edge.label()])}| {ids[edge.end]}")
    for node in network.nodes:
        if node.bottleneck:
            lines.append(f"  style {ids[node]} stroke:#d33,stroke-width:3px")
    return "\n".join(lines) + "\n"


# Mermaid reads a label as HTML, but for "#name;" and "#number;", which are its entities. It looks for some words of its own in
# labels, too: "`" begins Markdown, "%%" a comment, and "style...:" a style, in which it breaks an entity.
_ENTITIES = {"&": "#amp;", "<": "#lt;", ">": "#gt;", '"': "#quot;"} | {c: f"#{ord(c)};" for c in "#\\`:"}


def _mermaid_text(lines):
    texts = [_line(line).translate(str.maketrans(_ENTITIES)).replace("%%", "#37;#37;") for line in lines]
    return f'"{"<br>".join(texts)}"'
