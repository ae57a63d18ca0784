"""Drift: whether production images still have the distribution that the champion was trained on. Detection only so far.

detect_drift        verb `drift` and `alambique drift`, from the newest images to the verdict
production_batch    the newest production images, downloaded and checked
reference           what they are compared with: features of the champion's dataset
features            the features of either side, and their storage
image_statistics    statistics of the pixels: add a drift statistic here
comparisons         which statistics are compared, and by which test; effect sizes: stability index, KL divergence
two_sample_tests    Kolmogorov-Smirnov, MMD and chi-squared tests, and the correction for their number: add a test here
performance         the headline metric on labelled production images
label_selection     which images to label first
verdict             drift.json, the verdict in words and in MLflow
page                the verdict's page
"""
