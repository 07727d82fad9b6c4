"""Short names of models and data sets."""

from __future__ import annotations

import pytest

from manager.reports.wording import source_title


@pytest.mark.parametrize(
    ("source", "title"),
    [
        ("sentence-transformers/all-MiniLM-L6-v2", "all-MiniLM-L6-v2"),
        ("bert-base-uncased", "bert-base-uncased"),
        ("/home/me/news.csv", "news.csv"),
        ("/home/me/minilm/model", "minilm/model"),
        ("/home/me/minilm/model/", "minilm/model"),
        ("s3://bucket/news.csv", "news.csv"),
        ("/", "/"),
    ],
)
def test_titles(source: str, title: str) -> None:
    assert source_title(source) == title
