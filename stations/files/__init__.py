"""The HTTP side of the file exchange: what charge points fetch and deliver, as a plain ASGI application.

Context: twenty charge points that fetch 200 MB at once share a process with those who charge. Django writes a request's
body to disk before a view sees it, takes the whole of a synchronous answer into memory, and has middleware for people.
Choice: an application of its own beside Django (csms/asgi.py). Bytes go in and out in small pieces with the back
pressure of the connection; files are read and written in a few threads, rows in a few others, never those of the lanes
or of the handshakes; all downloads of a process share one rate (CSMS_DOWNLOAD_BYTES_PER_SECOND).
Consequence: memory stays flat whatever the size of a file, and a campaign slows itself down, not Authorize.
"""
