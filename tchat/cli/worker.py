"""``tchat worker``: offer this machine's devices to `tchat --rpc` on other machines."""

from __future__ import annotations

import os
import platform
import threading
from typing import TYPE_CHECKING

import typer

from tchat.cli.app import single_command
from tchat.cli.console import Console
from tchat.errors import ExitCode, NetworkError
from tchat.humanize import gigabytes
from tchat.sanitize import single_line
from tchat.settings.endpoints import DEFAULT_PORT, is_loopback
from tchat.translation import N_, joined, tr

if TYPE_CHECKING:
    from tchat.engine.rpc.server import RpcServer

app = single_command()

HELP = N_("""\
Offer this machine's devices to models of other machines.

Serves one program at a time, by llama.cpp's RPC, until Ctrl-C. All GPUs are offered, or else the
CPU. Listens on this machine only, since the protocol has no password and no encryption: other
machines reach it by a tunnel of ssh. There: tchat --rpc HOST:PORT,HOST:PORT.""")
EVENTS = {
    "Accepted client connection": N_("a program connected"),
    "Client connection closed": N_("it disconnected"),
}


@app.command(help=HELP)
def worker(
    ctx: typer.Context,
    *,
    host: str = typer.Option("127.0.0.1", "--host", metavar="ADDRESS", help="Address to listen on"),
    port: int = typer.Option(DEFAULT_PORT, "-p", "--port", min=1, max=65535, help="Port"),
    device: list[str] = typer.Option(
        None, "--device", metavar="NAME", help="Device to offer, such as CUDA0 or CPU; repeatable"
    ),
    threads: int = typer.Option(
        0, "--threads", min=0, max=1024, help="CPU threads; 0 is all physical cores"
    ),
    cache: bool = typer.Option(
        False, "--cache", help="Keep received weights on disk, so that they are not sent again"
    ),
    insecure_address: bool = typer.Option(
        False, "--insecure-address", help="Allow an ADDRESS that other machines can reach"
    ),
) -> int:
    """Listen and serve until a signal comes."""
    from tchat.engine.engine_thread import Call, start_on_large_stack
    from tchat.engine.rpc.server import RpcServer, require_free_port
    from tchat.engine.rpc.workers import require_loopback, require_rpc

    console: Console = ctx.obj
    require_loopback([host], insecure=insecure_address)
    require_rpc()
    server = RpcServer(device or ())
    require_free_port(host, port)
    folder = console.paths.cache / "rpc" if cache else None
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    _announce(console, server, host, port)
    _follow_output(console)

    def on_abort(reason: str) -> None:
        console.say(tr("llama.cpp ended the worker: {reason}", reason=single_line(reason, 300)))
        os._exit(ExitCode.UNEXPECTED)

    call = Call(lambda: server.serve(host, port, threads=threads, cache=folder, on_abort=on_abort))
    start_on_large_stack(call)
    while not call.wait(0.5):
        pass
    call.result()
    raise NetworkError(tr("the worker cannot listen at {host}:{port}", host=host, port=port))


def _announce(console: Console, server: RpcServer, host: str, port: int) -> None:
    from tchat.engine.rpc.workers import INSECURE

    names = joined(
        [
            tr("{name} ({size} free)", name=each.name, size=gigabytes(each.free))
            for each in server.devices
        ]
    )
    console.say(tr("offers {devices} at {host}:{port}", devices=names, host=host, port=port))
    if is_loopback(host):
        console.say(
            tr(
                "on another machine: ssh -N -L {port}:127.0.0.1:{port} {name}, and there: "
                "tchat --rpc 127.0.0.1:{port}",
                port=port,
                name=platform.node(),
            )
        )
        return
    console.say(
        tr(
            "warning: {why}; whoever reaches {host}:{port} can read the chats and attack this "
            "machine",
            why=tr(INSECURE),
            host=host,
            port=port,
        )
    )


def _follow_output(console: Console) -> None:
    """Replace what llama.cpp's server prints on standard output by lines of our own."""
    reader, writer = os.pipe()
    os.dup2(writer, 1)
    os.close(writer)

    def follow() -> None:
        with os.fdopen(reader, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if text := EVENTS.get(line.strip()):
                    console.say(tr(text))

    threading.Thread(target=follow, daemon=True).start()
