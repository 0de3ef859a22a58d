"""The page that people look at: its files, and what a browser may do with them."""
