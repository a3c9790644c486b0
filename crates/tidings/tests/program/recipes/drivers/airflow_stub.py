"""Imports nightly_import.py with a stub of Airflow's modules, and calls the callbacks that it gave to its DAG."""
import sys, types

made, tasks = {}, []


class DAG:
    def __init__(self, dag_id, **more):
        made.update(more, dag_id=dag_id)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False


bash = types.ModuleType("airflow.operators.bash")
bash.BashOperator = lambda **more: tasks.append(more)
airflow = types.ModuleType("airflow")
airflow.DAG = DAG
operators = types.ModuleType("airflow.operators")
sys.modules.update({"airflow": airflow, "airflow.operators": operators, "airflow.operators.bash": bash})

import nightly_import  # noqa: E402, F401

dag_run = types.SimpleNamespace(dag_id=made["dag_id"], run_id="stub", start_date=None)
task = types.SimpleNamespace(task_id=tasks[0]["task_id"])
made["on_failure_callback"]({"dag_run": dag_run})
made["default_args"]["on_failure_callback"]({"dag_run": dag_run, "ti": task})
