"""Where weights come from: a model's files as a lazy index of tensors."""
