"""Where bytes live: local folders, URLs and, later, archives and servers."""
