"""OCPP-J 1.6 as a library without I/O: text in, events out, text to send out.

`frames` reads and writes the JSON arrays, `payloads` knows the messages, `session` keeps the order of one websocket
conversation, `errors` are the error codes and `times` the timestamps. Nothing in here reads a clock, a socket or a
database: the time is an argument, so every rule can be tested by calling it.
"""
