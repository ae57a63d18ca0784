"""The operators: a module for each part of the pipeline, all of them over `base.VerbOperator`."""
