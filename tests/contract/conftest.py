"""The suite's asserts explain themselves, though its module is no test file."""

import pytest

pytest.register_assert_rewrite("provider_contract")
