"""What can go wrong, one thing at a time: each fault names the check that must catch it, at the first gate that can.

`test_faults.py` injects each into the clean project; docs/gates.md holds the table (python scripts/gates_table.py).
"""

from tests.gates.faults_of_data import COHORT_FAULTS, PATCH_FAULTS
from tests.gates.faults_of_models import CLASSIFIER_FAULTS, LABEL_FAULTS, SEGMENTER_FAULTS
from tests.gates.faults_of_slides import SLIDE_FAULTS

FAULTS = [*COHORT_FAULTS, *PATCH_FAULTS, *CLASSIFIER_FAULTS, *LABEL_FAULTS, *SEGMENTER_FAULTS, *SLIDE_FAULTS]
