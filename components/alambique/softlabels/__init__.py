"""The cache of soft labels, computed once: Arrow IPC files in shards, each with a manifest.

topk      a distribution kept as its k largest log-probabilities and the mass of the others; the KL at a temperature
schema    what soft labels depend on (`Recipe`, which each task extends by its columns), a shard's columns and manifest
writer    writes a shard
reader    opens a cache, checked against its manifests: a mapping from a sample's name to its row
"""
