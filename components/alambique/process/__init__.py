"""What every process of a stage needs: environment, lifeline, scratch folders, live metrics, resume folder, sandbox."""
