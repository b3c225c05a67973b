"""Data, from a file or the Hub to tokens and labels."""
