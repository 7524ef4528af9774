"""Figures for Prometheus: what happened is counted by each process, and any process tells it of all (`/metrics`).

Context: the server processes share one port, so a scrape reaches any of them; and the lane, which answers thousands of
messages a second in Python, has no time for instruments.
Choice: figures lie in small files that all processes of the host map (prometheus-client's multiprocess mode), below the
data folder. A lane counts a batch in plain integers and adds the sums once (lane.py). What the database and Redis know
is asked when somebody scrapes (installation.py), not kept up to date.
Consequence: one scrape target a host; a process that was killed keeps its counters and loses its gauges. Labels are
known words only: no identity, no id tag, nothing a charge point can invent.

    figures.py       every instrument, and `begin`, before which nothing is counted
    counting.py      what the connections, handshakes and the TLS ports call
    lane.py          what the lane calls
    jobs.py          what Celery calls
    watch.py         what is looked at by the clock: event loop, lanes, database pool, memory
    installation.py  what is asked at the scrape: commands, task queue, database, Redis
    exposition.py    the page and who may read it
"""
