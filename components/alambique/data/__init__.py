"""Datasets: reading them, checking them, and merging new files into them.

dataset            datasets in the layout of YOLO, read-only: images, and images with boxes
import_dataset     a dataset as people have it, copied into that layout
read_yolo          reads any YOLO data.yaml, or downloads a dataset by Ultralytics
forms              reads annotations of COCO, Pascal VOC, CVAT and Label Studio
image_values       images of which readers would lose values
manifest           facts about every file, as tables
contract           the data contract of images and boxes: Great Expectations' rules on these tables
summary            the tables in a few lines, for people
deduplicate        keeps one copy of samples that are in several splits
near_duplicates    images and texts that resemble each other, by perceptual hashes and words
expectations       runs such rules and lists the offending files, for every task
store              listing and downloading files of an S3 prefix or a folder
arrivals           verb `arrivals`: which files there are new; the records of earlier ingestions
staging            a batch of new files, downloaded and checked before it may join
merge              puts a checked batch into the dataset's splits, near-duplicates into the same one

Each task's own contract is in its folder of `tasks/`; the verb `ingest` is `runs.ingest`.
"""
