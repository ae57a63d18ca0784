"""What the teachers of detectors know, for people: their soft labels in a terminal and on a page, with pictures.

`command.show` looks at a whole cache, `command.show_image` at one image of it.
"""
