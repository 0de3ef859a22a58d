#!/usr/bin/env bash
# Asked within the hour that comes twice in autumn, libraries for cron give a time that is over, or one time twice.
#
# Guess beforehand: the next due time after an instant is later than it, and a fixed time of the day comes once a day.
# Seen (Europe/Berlin, 25 October 2026, `30 2 * * *`): cronsim 2.8, asked at 01:10 UTC, when it is 02:10 for the second
#   time, gives 00:30 UTC, which is 40 minutes earlier. croniter 7.0.0 gives 02:30 twice, an hour apart, as the day has it.
# Why it matters: a loop that sleeps until the next due time runs a job at once and again, as long as that hour lasts; a
#   nightly job runs twice. What asks has to drop all that is not later than what it asked for.
# Source: cron(8) of Debian: fixed times that come twice are run once; CronSim's README: "tries to match Debian's cron".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet cronsim==2.8 croniter==7.0.0 tzdata==2026.6
seen=$("$folder/venv/bin/python" - <<'PYTHON'
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from croniter import croniter
from cronsim import CronSim

berlin, fixed = ZoneInfo("Europe/Berlin"), "30 2 * * *"
asked = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)
given = next(CronSim(fixed, asked.astimezone(berlin))).astimezone(UTC)
print(f"cronsim: {given:%H:%M} after {asked:%H:%M}")
following = croniter(fixed, datetime(2026, 10, 24, 12, tzinfo=berlin))
print("croniter:", *(following.get_next(datetime).isoformat()[:22] for _ in range(2)))
PYTHON
)
echo "$seen"
[ "$seen" = "cronsim: 00:30 after 01:10
croniter: 2026-10-25T02:30:00+02 2026-10-25T02:30:00+01" ] || {
    echo "CHANGED: this is not what was seen with cronsim 2.8 and croniter 7.0.0"
    exit 1
}
echo "as written above"
