"""MCP servers: their tools, resources and prompts, and what they may ask of the user.

Everything that a server says is untrusted: sizes, counts and times are bounded, and a server that
hangs, dies or floods harms nothing but its own calls. The package ``mcp`` (extra ``mcp``) is
imported only by `connection` and what that imports, once a server is used.
"""
