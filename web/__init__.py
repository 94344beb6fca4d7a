"""What meets the browser: security, pages, the log and the server."""
