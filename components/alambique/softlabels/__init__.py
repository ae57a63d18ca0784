"""The teacher's soft labels, computed once: a cache in Arrow IPC files, in shards, each with a manifest.

`writer.write` makes a shard, `reader.Cache` opens all of them and refuses what it cannot trust. What a row holds is the
task's own: a subclass of `key.Recipe` says its columns.
"""
