"""What every task with one class a sample shares, whatever a sample is: an image or a text."""
