"""From metrics files to verdicts: pure functions without an ML library.

measures           names, units and directions of a task's figures; expected calibration error
paired_bootstrap   confidence intervals of differences in the headline metric
build              joins all metrics files into the leaderboard: differences in latency, Pareto fronts
leaderboard        the format of leaderboard.json, and queries on it (columns, references, ranking)
gates              what a candidate must satisfy: add a gate here, and its parameters in `config.gate_config`
"""
