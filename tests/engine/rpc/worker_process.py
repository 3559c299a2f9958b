"""``tchat worker`` as a process on loopback."""

from __future__ import annotations

import signal
import socket
import subprocess
import time

from tests.cli.shell import COMMAND


class Worker:
    """``tchat worker`` as a process, on a port of its own."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.endpoint = f"127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        call = [*COMMAND, "worker", "-p", str(self.port), "--threads", "1"]
        self.process = subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise TimeoutError("the worker does not listen")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it."""
        self.process.send_signal(number)

    def end(self) -> None:
        """Kill it, if it runs."""
        self.process.kill()
        self.process.wait()
