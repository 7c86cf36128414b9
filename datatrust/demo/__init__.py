"""The demo: a worked example, a study over four hospitals, a refusal, and a report.

from datatrust.demo import run_demo
run_demo(out=Path("demo"), lang="fr")
"""

from datatrust.demo.run import run_demo, run_engine_demo

__all__ = ["run_demo", "run_engine_demo"]
