"""examples/twohosts: two hosts joined by a socket, or memory; whoever has another key is refused."""

import re
import shutil

import readme
from support import BINARY, Started, command, environment, folder, host, wait_until


def place():
    """A copy of the example's folder, and an environment whose user has no key yet."""
    where = folder() / "twohosts"
    shutil.copytree(readme.EXAMPLES / "twohosts", where)
    env = environment(HOME=str(where), XDG_CONFIG_HOME=None, PATH=f"{BINARY.rpartition('/')[0]}:{environment()['PATH']}")
    return where, env | {"PYTHONDONTWRITEBYTECODE": "1", "XDG_RUNTIME_DIR": str(where)}


def ready(cwd, env, address, file, *words):
    """A server that listens."""
    server = Started([BINARY, "run", "serve.py", address, *words], cwd=cwd, env=env)
    wait_until((cwd / file).exists, "the server to listen")
    return server


def test_many_clients():
    """Each gets all its answers, in order; many more than the socket, or the memory, holds."""
    for address, file in (("unix:here.sock", "here.sock"), ("memory:here", "interlace/here")):
        serve_clients(address, file)


def serve_clients(address, file):
    cwd, env = place()
    host("key", "new", env=env).expect()
    numbers = [str(n) for n in range(1000, 5000)]
    with ready(cwd, env, address, file, "3") as server:
        clients = [Started([BINARY, "run", "ask.py", address, *numbers], cwd=cwd, env=env) for _ in range(3)]
        for client in clients:
            with client:
                lines = client.end().expect().out.splitlines()
                assert [line.split()[0] for line in lines] == numbers
                assert all(eval(product) == int(n) for n, product in (line.split(" = ") for line in lines))
        server.end().expect()
    assert not (cwd / file).exists()


def test_without_a_key():
    """Either side says how to get one."""
    cwd, env = place()
    for script in ("serve.py", "ask.py"):
        command(BINARY, "run", script, "unix:here.sock", "1", cwd=cwd, env=env).expect(1, "", ("interlace key new",))


def test_readme():
    """What the README shows, but for the fingerprints of keys and the order of two hosts' lines."""

    def simplify(output):
        return sorted(re.sub(r"[0-9a-f]{4}(-[0-9a-f]{4}){3}", "KEY", output).splitlines())

    cwd, env = place()

    def run(example, line):
        return command("sh", "-c", f"exec 2>&1\n{line}", cwd=cwd, env=env, limit=90)

    readme.check("twohosts", simplify=simplify, run=run)
