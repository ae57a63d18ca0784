"""What tests are made from: small projects, datasets, networks, caches, runs and servers, one kind a module."""
