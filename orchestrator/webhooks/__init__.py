"""Webhooks: other programs are told by HTTP how jobs have ended. The leader tells them."""
