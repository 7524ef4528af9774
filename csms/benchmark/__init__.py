"""`manage.py benchmark`: what this product does on this machine, next to a bare echo. The product imports nothing here.

run.py leads. It makes databases (databases.py), with a process beside each that does what needs the models (keeper.py,
rows.py, history.py), starts servers (target.py, processes.py: the product by `manage.py serve`, echo.py by the same
uvicorn configuration) and one load client (load.py, station.py, browser.py). The parts are in run.py, fleet.py,
crowd.py, data.py and scale.py; results.py is what they find, report.py prints it and picture.py draws it. With
--profile one more server times its own layers (stopwatch.py, layers.py).
"""
