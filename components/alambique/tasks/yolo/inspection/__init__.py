"""What teachers know, for people: their soft labels in a terminal and on a page, with pictures.

`boxes` shows the cache of a detector, `objects` that of another head; each `show` a whole cache, `show_image` one image.
"""
