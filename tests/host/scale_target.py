"""What the workers of test_scale.py run: a module of its own, so that they import next to nothing."""


def send(sender):
    sender.send(1)


def echo(receiver, sender):
    sender.send("ready")
    sender.send(receiver.recv())


def number(n):
    return n


def start_ten(n):
    import interlace

    with interlace.Group() as group:
        workers = [group.start(number, n * 10 + i) for i in range(10)]
        return [worker.result() for worker in workers]


def fail(receiver):
    receiver.recv()
    raise LookupError("one of many")
