r"""The labs' pytest plugin: `labkit.plugin` has the fixtures and marks that a lab's tests use."""

from labkit.plugin import (  # noqa: F401
    impl,
    lab,
    pytest_configure,
    pytest_runtest_call,
    pytest_runtest_makereport,
    pytest_runtest_setup,
    pytest_terminal_summary,
    truth,
)
