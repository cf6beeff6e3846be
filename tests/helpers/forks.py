"""A process that has imported everything once, and forks for each line that a test runs. `processes.py` starts it.

Importing torch takes seconds. A fork of a process that has done so is a process of its own, with its own files, locks,
signals and memory, and begins at once.
"""

import json
import os
import runpy
import signal
import socket
import struct
import sys
from contextlib import suppress
from types import ModuleType
from typing import Any


def next_line(connection: socket.socket) -> dict[str, Any]:
    """Serve requests. Returns in each fork, once, with the line that it has to run."""
    while True:
        data, files, _, _ = socket.recv_fds(connection, 65536, 3)
        while data and not data.endswith(b"\n"):
            data += connection.recv(65536)
        with suppress(ChildProcessError):  # there are none
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not data:
            os._exit(0)  # the tests are over
        if os.fork() == 0:
            line: dict[str, Any] = json.loads(data)
            become(line, *files)
            connection.close()
            return line
        for file in files:
            os.close(file)


def become(line: dict[str, Any], out: int, err: int, status: int) -> None:
    """Fork once more: one process waits and reports, the other goes on as the line's own."""
    pid = os.fork()
    if pid:
        os.write(status, struct.pack("i", pid))
        _, ended = os.waitpid(pid, 0)
        os.write(status, struct.pack("i", os.waitstatus_to_exitcode(ended)))
        os._exit(0)
    os.close(status)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts us in the background ignores it
    if line["session"]:
        os.setsid()
    for file, number in ((os.open(os.devnull, os.O_RDONLY), 0), (out, 1), (err, 2)):
        os.dup2(file, number)
        os.close(file)
    os.chdir(line["cwd"])
    os.environ.clear()
    os.environ.update(line["env"])
    sys.argv = ["-c", *line["words"]]


def main() -> None:
    import hydra_plugins.mixup_lab_slots._preload  # noqa: F401  # imports what a run needs, and starts no thread

    line = next_line(socket.socket(fileno=int(sys.argv[1])))
    if line["script"] is None:
        runpy.run_module("mixup_lab", run_name="__main__", alter_sys=True)
    else:
        sys.modules["__main__"] = module = ModuleType("__main__")
        exec(line["script"], module.__dict__)


if __name__ == "__main__":
    main()
