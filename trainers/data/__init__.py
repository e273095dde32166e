"""Images and text for the training loop: what a recipe says, the cache of a node, and batches by step."""
