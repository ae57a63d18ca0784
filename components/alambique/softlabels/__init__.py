"""The cache of soft labels, computed once: Arrow IPC files in shards, each with a manifest.

topk      a distribution kept as its k largest log-probabilities and the mass of the others; the KL at a temperature
key       what soft labels depend on (`Recipe`, which each task extends by its columns), and a shard's manifest
schema    the columns of a shard, and their arrays
writer    writes a shard
reader    opens a cache, checked against its manifests: a mapping from a sample's name to its row
"""
