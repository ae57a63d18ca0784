"""Datasets in the files of annotation tools: COCO, Pascal VOC, CVAT and Label Studio, written as YOLO labels.

annotations        what every reader gives: images, and the objects on them in pixels
coco, voc, cvat, label_studio     a reader each; class_list of YOLO's labels without a data.yaml
parsing            JSON and XML from outside, bounded, without entities
find               which files of a folder are read, as what, and where their images are
splits             the split that a name means; our own split, stratified by class
rows               objects as the label rows of a head
convert            all of it: from a folder or file to the layout of `data.dataset`
"""
