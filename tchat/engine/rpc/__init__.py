"""A model over several machines: llama.cpp's RPC backend.

`workers` registers the workers of other machines in this process, `server` offers the devices of
this one. llama.cpp ends its process when a worker fails, so the engine runs in a child process
(`child_process`), which `process` starts, asks and watches; `engine` is that engine for the rest of
tchat.
"""
