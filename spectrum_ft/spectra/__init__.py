"""Singular values of one matrix: how they are found, judged, scored and kept."""
