"""The panel of `distill_quality`: its data sets, its arms as projects of the product's stages, and its rows."""
