"""One thin module per DVC stage, named after it: read params, call wsss_mm, write the outs.

`python -m pipelines.STAGE` runs one, as dvc.yaml does. A stage knows neither DVC nor MLflow: `pipelines.running` looks
after its inputs and errors, and hands a `Tracker` to those that have something to show.
"""

import os

from wsss_mm.interrupts import say_when_interrupted

LINE = "interrupted; dvc repro goes on where it stopped"
say_when_interrupted(LINE)
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when mlflow is imported
# Read when torch is imported. OpenMP threads that spin while they wait make training 5 times slower beside other work.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
