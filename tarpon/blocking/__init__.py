"""What programs without an event loop use: the client and the file system, over a loop in a thread of their own."""
