"""Schedules: a minute of theirs passes in a second, and who is due is looked at every second.

`rate(15 minutes)` of an EventBridge rule or of EventBridge Scheduler so comes every 15 seconds.
`at(...)` is a time of the clock and stays one.
"""

from ministack.services import eventbridge, scheduler


def install():
    """Makes rates pass sixty times as fast."""
    plain = eventbridge._parse_rate_seconds

    def hurried(expression):
        seconds = plain(expression)
        return None if seconds is None else seconds / 60

    eventbridge._parse_rate_seconds = hurried
    eventbridge._SCHEDULER_TICK_INTERVAL = 1
    scheduler._SCHEDULE_TICK_INTERVAL = 1
