"""The arithmetic of the methods: tensors in, tensors out, differentiable, without any knowledge of models."""
