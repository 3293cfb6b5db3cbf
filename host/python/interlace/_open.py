"""interlace.open() and listen(): endpoints with names, for processes that know nothing of each other but an address."""

import os
import select as _system
import sys
from collections import deque

import _interlace
from _interlace import EndOfChannel, SealError


class Connection(tuple):
    """Both ends of a connection, as a tuple: the Sender to the other side, and the Receiver of what that sends.

    A context manager that closes both; the other side gets EndOfChannel then. It is an argument of Group.start(), too.

        def add(address):                              # in a worker here, as a rule in another host
            with interlace.open(address) as (sender, receiver):
                for numbers in receiver:
                    sender.send(sum(numbers))

        with interlace.listen("unix:sums.sock") as listener, interlace.Group() as group:
            group.start(add, "unix:sums.sock")
            with listener.accept() as connection:
                connection.sender.send([1, 2, 3])
                print(connection.receiver.recv())      # 6
    """

    __slots__ = ()

    def __new__(cls, sender, receiver):
        return tuple.__new__(cls, (sender, receiver))

    def __reduce__(self):
        return Connection, tuple(self)

    @property
    def sender(self):
        """What is sent here is received at the other side (Sender)."""
        return self[0]

    @property
    def receiver(self):
        """What the other side sends (Receiver)."""
        return self[1]

    def close(self):
        """Close both ends; like Sender.close() of each. May be repeated.

            connection.close()
        """
        try:
            self[0].close()
        finally:
            self[1].close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


class _Readable:
    """A case of select()."""

    def __init__(self, descriptor):
        self.fileno = descriptor.fileno


class Listener:
    """The side of a Unix socket, or of shared memory, that listens, as listen() makes it. A context manager that closes it.

    recv(), and a loop over it, take what all clients send, each message with the sender that answers its client;
    accept() takes each client by itself. What does not come from a process of the same user that has the same
    key is refused before any of it is unpickled.

    select() takes a Listener as a case: accept() or recv() is worth a call then (value: None).

        def ask(address, numbers):                     # in a worker here, as a rule in another host
            with interlace.open(address) as (sender, answers):
                sender.send(numbers)
                print(answers.recv())                  # 6

        with interlace.listen("unix:sums.sock") as listener, interlace.Group() as group:
            group.start(ask, "unix:sums.sock", [1, 2, 3])
            client, numbers = listener.recv()
            client.send(sum(numbers))
    """

    def __init__(self, address, *, key=None, label="", name=None):
        if _scheme_of(address) == "pipe":
            raise ValueError(
                f"listen() takes a socket, 'unix:PATH', or 'memory:NAME', not {address!r}; a FIFO is opened by both sides"
            )
        self._listener = _interlace._Listener(address, *_options(key, label, name))
        self._clients = {}  # by descriptor; of recv()
        self._ready = deque()  # descriptors to look at
        self._events = _system.epoll()  # of the listener and of those clients
        self._events.register(self._listener.fileno(), _system.EPOLLIN)

    @property
    def name(self):
        """What error messages call it: the address, unless a name was given (str)."""
        return self._listener.name

    @property
    def closed(self):
        """Whether it has been closed (bool)."""
        return self._listener.closed

    def accept(self, timeout=None):
        """Wait for the next client that connects, and return its Connection.

        timeout is in seconds (float or int): None waits for ever, 0 only tries. A client that has connected and says
        nothing holds up nobody.

        Raises TimeoutError, ValueError when this listener is closed, Cancelled; and when somebody who connected was
        refused, what is wrong with them: SealError (they have another key, or are no Interlace), PermissionError
        (another user's process). The listener goes on then: call accept() again.

            def serve(connection):                     # a worker for each client
                with connection as (sender, requests):
                    for numbers in requests:
                        sender.send(sum(numbers))

            with interlace.listen("unix:sums.sock") as listener, interlace.Group() as group:
                for numbers in ([1, 2], [3, 4]):
                    group.start(ask, "unix:sums.sock", numbers)
                for _ in range(2):
                    group.start(serve, listener.accept())
        """
        return Connection(*self._listener.accept(timeout))

    def recv(self, timeout=None):
        """Receive the next message of any client: (Sender, object). The Sender answers that client.

        Clients are accepted meanwhile; who is refused, or cut off, is named on stderr. A client that has ended is
        forgotten. timeout is in seconds (float or int): None waits for ever, 0 only tries. Iterating does the same.

        Raises TimeoutError, ValueError when this listener is closed, Cancelled, and whatever unpickling the object
        raises.

            with interlace.listen("unix:sums.sock") as listener, interlace.Group() as group:
                for numbers in ([1, 2], [3, 4]):
                    group.start(ask, "unix:sums.sock", numbers)
                for _ in range(2):
                    client, numbers = listener.recv(timeout=60.0)
                    client.send(sum(numbers))
        """
        try:
            deadline = None if timeout is None else _interlace.after(timeout)
        except (TypeError, ValueError) as error:
            raise type(error)(f"timeout must be None or a number of seconds from 0 on, not {timeout!r}") from None
        timed = () if deadline is None else (deadline,)
        while True:
            self._listener.fileno()  # raises when it is closed
            if not self._ready:
                self._ready.extend(fd for fd, _ in self._events.poll(0))
            while self._ready:
                try:
                    fd = self._ready.popleft()
                except IndexError:  # another thread was here
                    break
                connection = self._clients.get(fd)
                if connection is None:
                    self._admit()
                elif (message := self._take(fd, connection)) is not None:
                    return message
            case, _ = _interlace.select(_Readable(self._events), *timed, priority=True)
            if case is deadline and not self._events.poll(0, 1):
                raise TimeoutError(f"recv on {self.name!r}: the timeout passed before a message came")

    def _admit(self):
        try:
            connection = self.accept(0)
        except TimeoutError:
            return
        except (SealError, PermissionError) as error:
            self._complain("refused a client", error)
            return
        fd = connection.receiver.fileno()
        self._clients[fd] = connection
        self._events.register(fd, _system.EPOLLIN)

    def _take(self, fd, connection):
        """Return the client's next message with the sender for its answer, or None: there is none yet, or any more."""
        try:
            return connection.sender, connection.receiver.recv(0)
        except TimeoutError:  # part of a message
            return None
        except EndOfChannel:
            pass
        except SealError as error:
            self._complain("lost a client", error)
        if self._clients.pop(fd, None) is not None:
            self._events.unregister(fd)
            connection.receiver.close()
        return None

    def _complain(self, what, error):
        sys.stderr.write(f"interlace: {self.name} {what}: {error}\n")

    def __iter__(self):
        return self

    def __next__(self):
        return self.recv()

    def fileno(self):
        """A descriptor (int) for select, poll and event loops.

        It polls readable when accept() or recv() is worth a call, which may find nothing yet. Do not read it.

            import select as system

            with interlace.listen("unix:sums.sock") as listener:
                readable, _, _ = system.select([listener], [], [], 0.0)
                print(readable)                        # []
        """
        self._listener.fileno()  # raises when it is closed
        return self._events.fileno()

    def close(self):
        """Listen no more, and remove the socket's file. Connections of accept() go on, those of recv() are closed.

        May be repeated; a later use raises ValueError, also in a thread that waits.

            listener = interlace.listen("unix:sums.sock")
            listener.close()
            print(listener.closed)                     # True
        """
        self._listener.close()
        while self._clients:
            self._clients.popitem()[1].close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def __repr__(self):
        return f"<interlace.Listener at {self.name!r}{', closed' if self.closed else ''}>"


def _scheme_of(address):
    if not isinstance(address, str):
        raise TypeError(f"an address is a str, such as 'unix:/tmp/some.sock', not {type(address).__name__}")
    scheme, colon, _ = address.partition(":")
    if not colon or scheme not in ("pipe", "unix", "memory"):
        raise ValueError(
            f"{address!r} is no address: 'pipe:/path/to/fifo', 'unix:/path/to/socket' or 'memory:NAME' was expected"
        )
    return scheme


def _options(key, label, name):
    if not isinstance(label, str):
        raise TypeError(f"label must be a str, not {type(label).__name__}")
    if not isinstance(name, str | None):
        raise TypeError(f"name must be a str or None, not {type(name).__name__}")
    return None if key is None else os.fsencode(key), label, name


def open(address, mode=None, *, key=None, label="", name=None, timeout=None):
    """Open a channel to another process of this user, which has the same key. Every frame is sealed with it.

    'pipe:PATH' is a FIFO, of any number of senders and one receiver: open() returns a Sender for the mode 'w', when
    somebody receives there, and a Receiver for 'r', at once. 'unix:PATH' is a Unix socket, where listen() listens: open()
    connects, and returns a Connection, which is (Sender, Receiver). 'memory:NAME' is the same through memory that the two
    processes share, which is quicker; NAME is 1 to 64 letters, digits, '-', '_' and '.', with no '.' at its beginning.
    Whoever comes first waits for the other side.

    key is the path of the key's file; None is the user's own, which `interlace key new` makes. label (str) says what
    the channel is for: both sides have the same. name (str) is what error messages call it, the address unless given.
    timeout is in seconds (float or int): None waits for ever, 0 only tries.

    The ends are used as those of channel(), but that only objects go through them, no ends, and that they go to workers
    as arguments of Group.start() only. A stream that was cut off raises Truncated, not EndOfChannel; see SealError.

    Raises TimeoutError, Cancelled, ValueError for a bad address or key file, FileNotFoundError when there is no key,
    PermissionError when others could use the key, the FIFO or the socket, or another user is at the other side,
    FileExistsError for a file of another kind, SealError when the other side has another key, OSError.

        def log(path):
            with interlace.open(path, "r") as lines:
                for line in lines:
                    print(line)                        # done

        def work(path):
            with interlace.open(path, "w", timeout=30.0) as sender:
                sender.send("done")

        with interlace.Group() as group:
            group.start(log, "pipe:lines.fifo")        # or in another host
            group.start(work, "pipe:lines.fifo")
    """
    options = _options(key, label, name)
    scheme = _scheme_of(address)
    if scheme != "pipe":
        if mode is not None:
            raise ValueError(
                f"a connection goes both ways: open({scheme + ':...'!r}) takes no mode, and listen() is for the other side"
            )
        return Connection(*_interlace._connect(address, *options, timeout))
    if mode not in ("r", "w"):
        raise ValueError(f"open('pipe:PATH', mode) takes the mode 'r' to receive or 'w' to send, not {mode!r}")
    opening = _interlace._open_receiver if mode == "r" else _interlace._open_sender
    return opening(address, *options, timeout)


def listen(address, *, key=None, label="", name=None):
    """Make a Unix socket, 'unix:PATH', and listen there for any number of clients, which open() it: a Listener.

    The socket's file is this user's alone (mode 0600), and removed when the Listener is closed; one that a killed process
    has left is replaced. With 'memory:NAME' the socket lies in the user's runtime folder ($XDG_RUNTIME_DIR/interlace, or
    in ~/.interlace), and the clients' messages go through memory. key, label and name are those of open().

    Raises OSError (EADDRINUSE) when somebody listens there already, and what open() raises, but for TimeoutError.

        def ask(path):
            with interlace.open(path) as (sender, answers):
                sender.send([1, 2, 3])
                print(answers.recv(timeout=10.0))      # 6

        with interlace.listen("unix:sums.sock") as listener, interlace.Group() as group:
            group.start(ask, "unix:sums.sock")         # or in another host
            client, numbers = listener.recv(timeout=10.0)
            client.send(sum(numbers))
    """
    return Listener(address, key=key, label=label, name=name)
