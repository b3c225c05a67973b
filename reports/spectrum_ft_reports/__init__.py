"""Records as people read them: record -> view -> terminal."""
