"""Time left of a tuning, from its pace so far."""

import time


class Clock:
    def __init__(self, trials):
        self.left = trials
        self.done = 0
        self.start = time.monotonic()

    def count(self, trials):
        self.done += trials
        self.left = max(0, self.left - trials)

    def seconds_left(self):
        return round((time.monotonic() - self.start) / self.done * self.left, 1) if self.done else None
