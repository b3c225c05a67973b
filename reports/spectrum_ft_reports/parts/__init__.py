"""What every report is made of: figures, safe text, tables."""
