"""The transcript: a conversation drawn line by line, of which only what is seen is laid out.

Text flows `entry` → `layout` (`document`, `plain`) → `column` → `painting`, and `view` is the
widget. Nothing but `scrolling`, `painting`, `view` and `palette` knows of a running app.
"""
