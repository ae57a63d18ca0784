"""The embedded example: scikit-learn's real handwritten digits, scattered into detection scenes."""
