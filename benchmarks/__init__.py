"""What the README's figures come from: `python -m benchmarks.NAME [--quick]`, one module a benchmark."""

from alambique.process.environment import prepare

prepare()  # threads as a stage has them; too late once a library for training is imported
