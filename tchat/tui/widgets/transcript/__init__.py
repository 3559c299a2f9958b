"""The transcript: a conversation drawn line by line, of which only what is seen is laid out.

Text flows `entry` → `document` → `column` → `painting`; `view` is the widget. Only `scrolling`,
`painting` and `view` need a running app.
"""
