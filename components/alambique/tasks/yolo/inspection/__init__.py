"""What teachers know, for people: their soft labels in a terminal and on a page, with pictures.

`boxes` is for detectors, `objects` for the other heads; `show` looks at a whole cache, `show_image` at one image of it.
"""

from alambique.tasks.yolo.inspection import boxes, objects

__all__ = ["boxes", "objects"]
