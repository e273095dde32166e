"""Training: the one loop, its engines (torch, DeepSpeed), objectives and data."""
