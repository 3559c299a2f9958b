"""Streaming Markdown: text is split into finished blocks, which are rendered one by one.

`BlockSplitter` splits text into `Block`s and is cheap to import. `BlockRenderer` in
`tchat.markdown.renderer` imports Rich: import it only to render.
"""

from tchat.markdown.code_blocks import CodeBlock, code_blocks, first_code_block
from tchat.markdown.splitter import Block, BlockKind, BlockSplitter

__all__ = ["Block", "BlockKind", "BlockSplitter", "CodeBlock", "code_blocks", "first_code_block"]
