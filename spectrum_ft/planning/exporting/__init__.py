"""Plans in the words of other tools, one file a tool: what each can say, how it matches names."""
