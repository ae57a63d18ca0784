"""Whether images from production are still like those that the champion learned from."""
