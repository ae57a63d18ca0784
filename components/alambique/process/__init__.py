"""What every process of a stage needs: environment, lifeline, live metrics, resume folder, sandbox, timing."""
