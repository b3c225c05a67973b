"""The parts of a memory forecast: a model's blocks, how weights are kept, what a step keeps."""
