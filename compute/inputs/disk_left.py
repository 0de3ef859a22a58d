"""What inputs may still fill of their task's disk."""

import asyncio
import threading

from compute.disk.disk_watch import task_bytes
from compute.inputs.order import InputOrder


async def left_bytes(order: InputOrder) -> int:
    """At least 1; 0 is no limit."""
    if not order.disk_bytes:
        return 0
    unwanted = threading.Event()
    try:
        filled = await asyncio.to_thread(task_bytes, order.workspace, unwanted)
    finally:
        unwanted.set()
    return max(1, order.disk_bytes - filled)
