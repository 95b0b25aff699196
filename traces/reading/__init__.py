"""Reading trace files: compression, formats detected by content, rows one by one or in bulk, coarse time stamps."""
