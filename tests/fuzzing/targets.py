"""Everything that parses, as targets of the fuzzer and of the property-based tests."""

from tests.fuzzing import of_cohorts, of_files, of_results

TARGETS = [*of_cohorts.TARGETS, *of_files.TARGETS, *of_results.TARGETS]
