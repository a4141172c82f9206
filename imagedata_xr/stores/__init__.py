"""Where bytes live: local folders, URLs, archives and stores of our own."""
