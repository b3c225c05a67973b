"""Records where the user reads them: a module for each, which shows it and writes it to files."""
