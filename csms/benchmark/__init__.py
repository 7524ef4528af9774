"""`manage.py benchmark`: what this product does on this machine, next to a bare echo. The product imports nothing here.

run.py leads. It makes databases (databases.py, rows.py), starts servers (processes.py: the product by `manage.py
serve`, echo.py by the same uvicorn configuration) and one load client (load.py, station.py), and report.py prints what
came out. With --profile one more server times its own layers (stopwatch.py, layers.py).
"""
