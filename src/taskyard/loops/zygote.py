"""
The zygote: a small process that has imported the program's handlers, has no threads, and forks children that run them.

It is started anew (not forked), because a fork of a process with threads may deadlock. Forking from it takes about 2 ms; a
killed child is replaced in that time. It talks to its worker over a socket of whole messages: ``fork`` comes with one end of
the child's own socket; ``born`` and ``died`` go back. When the worker goes, so do the zygote and its children.
"""

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
from typing import Final, NoReturn

from taskyard.loops import child, loading
from taskyard.loops.loading import Origin

MAX_MESSAGE_BYTES: Final = 64 * 1024


class Zygote:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._pids: dict[int, int] = {}  # by the token the worker gave
        self._woken, wake = socket.socketpair()
        self._wake = wake
        for end in (self._woken, self._wake):
            end.setblocking(False)

    def serve(self) -> None:
        """Fork and kill on the worker's word until it goes."""
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _ignore)
        # A service manager tells the whole group to stop. The worker decides when its children do: it drains.
        signal.signal(signal.SIGTERM, _ignore)
        signal.signal(signal.SIGINT, _ignore)
        try:
            while True:
                ready, _, _ = select.select([self._control, self._woken], [], [])
                if self._woken in ready:
                    with contextlib.suppress(BlockingIOError):
                        self._woken.recv(4096)
                    self._reap()
                if self._control in ready and not self._obey():
                    return
        finally:
            signal.set_wakeup_fd(-1)
            self._kill_all()

    def _obey(self) -> bool:
        """Do what one message says; False when the worker has gone."""
        data, fds, _, _ = socket.recv_fds(self._control, MAX_MESSAGE_BYTES, 1)
        if not data:
            return False
        message = json.loads(data)
        token = message["token"]
        if message["do"] == "kill":
            # Not reaped yet, so the number cannot be another process's.
            if token in self._pids:
                os.kill(self._pids[token], signal.SIGKILL)
        else:
            self._fork(token, fds[0])
        return True

    def _fork(self, token: int, fd: int) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            os.close(fd)
            self._tell({"died": token, "why": f"cannot fork: {error}"})
            return
        if pid == 0:
            self._become_child(fd)
        os.close(fd)
        self._pids[token] = pid
        self._tell({"born": token, "pid": pid})

    def _become_child(self, fd: int) -> NoReturn:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for each in (self._control, self._woken, self._wake):
                each.close()
            child.work(socket.socket(fileno=fd))
            code = 0
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
            os._exit(code)

    def _kill_all(self) -> None:
        for pid in self._pids.values():
            os.kill(pid, signal.SIGKILL)
        for pid in self._pids.values():
            os.waitpid(pid, 0)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            token = next((token for token, each in self._pids.items() if each == pid), None)
            if token is not None:
                del self._pids[token]
                self._tell({"died": token, "code": os.waitstatus_to_exitcode(status)})

    def _tell(self, message: dict[str, object]) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionError):
            self._control.send(json.dumps(message).encode())


def _ignore(_signal: int, _frame: object) -> None:
    """Do nothing. Not SIG_IGN, which the programs that handlers start would inherit."""


def main(fd: int) -> None:
    """Serve the worker at the other end of the socket *fd*."""
    control = socket.socket(fileno=fd)
    start = json.loads(control.recv(MAX_MESSAGE_BYTES))
    loading.inside_zygote = True
    sys.path[:] = start["path"]
    sys.argv[:] = start["argv"]
    for module, file in start["modules"]:
        # What fails here fails again in the child that needs it, where there is a task to tell it to.
        with contextlib.suppress(Exception, SystemExit):
            loading.load(Origin(module, file, ""))
    gc.collect()
    gc.freeze()  # so that collections in the children leave the shared pages alone
    Zygote(control).serve()
