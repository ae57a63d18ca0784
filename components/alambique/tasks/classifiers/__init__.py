"""What classifiers of images and of texts share: every sample has one class, whatever the sample is."""
