"""Files and folders: reading documents, writing outputs whole or not at all, progress."""
