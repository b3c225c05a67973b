"""How pictures look, and how they become files and parts of pages."""
