"""What the bundled model can be asked to see whether an engine computes rightly."""

from mlm.demo.hub import DEMO_FILE
from mlm.engine.build import Question

DEMO_QUESTION = Question(DEMO_FILE, "What does exit code 3 mean?", expected="not found")
