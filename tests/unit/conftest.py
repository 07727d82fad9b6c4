"""An AWS account for tests that ask AWS itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.aws_account import AwsAccount


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsAccount]:
    """Moto plays it; empty, in each region."""
    pytest.importorskip("boto3")
    from moto import mock_aws  # Deferred: few tests pay for it.

    AwsAccount.isolate(monkeypatch)
    with mock_aws():
        yield AwsAccount()
