"""Markdown as it streams in: finished blocks, one at a time, for the command and the screen.

`BlockSplitter` cuts text into `Block`s and needs nothing heavy. `BlockRenderer` in
`tchat.markdown.renderer` draws them and imports Rich: import it where you are about to draw.
"""

from tchat.markdown.blocks import Block, Kind
from tchat.markdown.code_blocks import CodeBlock, code_blocks, first_code_block
from tchat.markdown.splitter import BlockSplitter

__all__ = ["Block", "BlockSplitter", "CodeBlock", "Kind", "code_blocks", "first_code_block"]
