"""interlace.interpreters: the standard library's concurrent.interpreters, on Interlace's workers and channels.

    from interlace import interpreters         # instead of: from concurrent import interpreters

    interp = interpreters.create()
    queue = interpreters.create_queue()
    interp.prepare_main(queue=queue)
    interp.exec("queue.put(sum(range(10)))")
    print(queue.get())                         # 45
    interp.close()

What is in an interpreter's __main__ stays there from one exec() or call() to the next, until close(). Names, arguments
and exceptions are those of the standard module; the exceptions are its very classes. What is better here:

- A queue's put() and get() sleep until they can go on, and are woken in microseconds: nothing polls.
- timeout is in seconds with fractions. Ctrl-C, and the cancelling of a group or worker, end every wait.
- What an interpreter has put into a queue stays there when it ends. (unbounditems says otherwise: see create_queue.)
- Any object that pickles can be passed, in prepare_main() too, and what channels take: ends, Buffers, memoryviews.
- An interpreter or a queue that is on its way in a message is there when it arrives.

What differs:

- The code runs in the interpreter's own thread, while the caller waits. threading.current_thread() and what hangs on it
  are the interpreter's own, the same from one call to the next.
- When the caller is cancelled while it waits, so is the interpreter: what it runs gets Cancelled, and it ends. It can be
  closed then, not used.
- create() does not wait for the interpreter to be made: what goes wrong there is an InterpreterError of its first use.
- The script's own functions and classes run among the script's definitions, as those of a worker do: __name__ is
  "__main__" there. They stay out of the namespace that exec() runs in.
- An interpreter ends when the last Interpreter object that stands for it is gone; the one that get_current() gives in
  the interpreter itself does not count.
- get_main() is the interpreter that runs the script. Workers that a Group has started are listed, too; like the main
  interpreter they cannot be used from here.
"""

import _interpreters
from _interlace import Buffer, Receiver, Sender

from concurrent.interpreters import (
    ExecutionFailed,
    InterpreterError,
    InterpreterNotFoundError,
    NotShareableError,
    QueueEmpty,
    QueueFull,
)
from interlace.interpreters._interpreter import Interpreter, create, get_current, get_main, list_all
from interlace.interpreters._queues import (
    UNBOUND,
    UNBOUND_ERROR,
    UNBOUND_REMOVE,
    ItemInterpreterDestroyed,
    Queue,
    QueueError,
)
from interlace.interpreters._queues import create as create_queue

__all__ = [
    "ExecutionFailed",
    "Interpreter",
    "InterpreterError",
    "InterpreterNotFoundError",
    "ItemInterpreterDestroyed",
    "NotShareableError",
    "Queue",
    "QueueEmpty",
    "QueueError",
    "QueueFull",
    "UNBOUND",
    "UNBOUND_ERROR",
    "UNBOUND_REMOVE",
    "create",
    "create_queue",
    "get_current",
    "get_main",
    "is_shareable",
    "list_all",
]

def is_shareable(obj):
    """Return whether an object can be passed to another interpreter without being pickled (bool).

    The answer is that of the standard module, and True for what Interlace itself carries. It does not matter here: any
    object that pickles can be passed.

        print(interpreters.is_shareable("text"), interpreters.is_shareable(["list"]))   # True False
    """
    return isinstance(obj, (Queue, Sender, Receiver, Buffer)) or _interpreters.is_shareable(obj)


for _public in (Interpreter, Queue, create, create_queue, get_current, get_main, list_all):
    _public.__module__ = __name__
create_queue.__name__ = create_queue.__qualname__ = "create_queue"
del _public
