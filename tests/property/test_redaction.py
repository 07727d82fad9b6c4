"""No secret passes the redactor, however it is spelt; what is no secret passes untouched."""

from __future__ import annotations

import base64
import io
import json
import string
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.redaction import (
    MASK,
    MIN_SECRET_LENGTH,
    NAMES_VARIABLE,
    LineRedactor,
    RedactedStream,
    Redactor,
    redact_file,
    secrets_in,
)

_ALNUM = string.ascii_letters + string.digits
# A secret that is a part of the mask itself would be found in every redacted text.
_SECRETS = st.text(string.printable.strip() + "äß", min_size=MIN_SECRET_LENGTH, max_size=60).filter(
    lambda text: text not in MASK and text == text.strip() and not set(text) <= set(MASK)
)
_AROUND = st.text(st.characters(codec="utf-8"), max_size=40)


def _tail(letters: str, size: int) -> st.SearchStrategy[str]:
    return st.text(letters, min_size=size, max_size=size)


_SHAPED = st.one_of(
    _tail(_ALNUM, 34).map("hf_{}".format),
    _tail(string.ascii_uppercase + string.digits, 16).map("AKIA{}".format),
    _tail(_ALNUM, 36).map("ghp_{}".format),
    _tail(_ALNUM + "_", 60).map("github_pat_{}".format),
    _tail(_ALNUM, 40).map("sk-{}".format),
    _tail(_ALNUM + "_-", 35).map("AIza{}".format),
)


@given(secret=_SECRETS, before=_AROUND, after=_AROUND)
def test_a_known_value_never_passes(secret: str, before: str, after: str) -> None:
    told = Redactor({"HF_TOKEN": secret}).text(f"{before}{secret}{after}")
    assert secret not in told


@given(secret=_SECRETS)
@pytest.mark.parametrize(
    "spell",
    [
        lambda secret: json.dumps({"token": secret}),
        lambda secret: f"https://host/?q={quote(secret, safe='')}",
        lambda secret: repr([secret]),
        lambda secret: base64.b64encode(secret.encode()).decode(),
    ],
    ids=["json", "url", "repr", "base64"],
)
def test_nor_as_other_programs_spell_it(spell: object, secret: str) -> None:
    assert callable(spell)
    spelt = spell(secret)
    core = {"{": json.dumps(secret)[1:-1], "h": quote(secret, safe=""), "[": repr(secret)[1:-1]}.get(spelt[0], spelt)
    assert core not in Redactor({"KEY": secret}).text(spelt)


@given(token=_SHAPED, before=st.sampled_from(["", "token=", "'", "401 for ", "\n"]))
def test_a_text_with_the_shape_of_a_token_never_passes(token: str, before: str) -> None:
    told = Redactor({}).text(f"{before}{token} was refused")
    assert token not in told
    assert MASK in told
    assert told.endswith("was refused")


@given(password=st.text(_ALNUM + "!$%^&*()+=.,;-", min_size=1, max_size=40), user=st.text(_ALNUM, max_size=10))
def test_a_password_in_a_url_never_passes(password: str, user: str) -> None:
    told = Redactor({}).text(f"cannot connect to postgresql://{user}:{password}@db.example:5432/ledger")
    assert told == f"cannot connect to postgresql://{user}:{MASK}@db.example:5432/ledger"


@given(secret=_SECRETS, other=st.integers())
def test_json_data_is_redacted_in_depth(secret: str, other: int) -> None:
    data = {"message": [secret, {"x": f"a {secret} b"}], "n": other, "none": None}
    told = Redactor({"T": secret}).data(data)
    assert told == {"message": [MASK, {"x": f"a {MASK} b"}], "n": other, "none": None}


@given(text=st.text(string.ascii_lowercase + " .,:/-_()", max_size=200))
def test_plain_words_stay(text: str) -> None:
    assert Redactor({"T": "0123456789abcdef0123"}).text(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "run tiny-3f2a: 12.5 $/h on aws/us-east-1 g6.xlarge, s3://bucket/prefix/run-1",
        "https://host.example:8080/path?x=1",
        "step 10 loss 0.693 tokens/s 1,204",
        "the tokenizer has token basic shape",
    ],
)
def test_what_runs_say_stays(text: str) -> None:
    assert Redactor({}).text(text) == text


def test_a_private_key_is_hidden_as_a_text_and_line_by_line() -> None:
    body = ["MIIEvQIBADANBgkqhkiG9w0BAQEFAASC", "0123456789abcdefghijklmnopqrstuv"]
    lines = ["before", "-----BEGIN RSA PRIVATE KEY-----", *body, "-----END RSA PRIVATE KEY-----", "after"]
    assert Redactor({}).text("\n".join(lines)) == f"before\n{MASK}\nafter"
    redactor = LineRedactor(Redactor({}))
    told = [redactor.line(line) for line in lines]
    assert told[0] == "before"
    assert told[-1] == "after"
    assert not any(line in "\n".join(told) for line in body)


def test_a_key_that_never_ends_does_not_hide_the_rest_of_a_run() -> None:
    redactor = LineRedactor(Redactor({}))
    redactor.line("-----BEGIN PRIVATE KEY-----")
    assert [redactor.line("step") for _ in range(300)][-1] == "step"


def test_variables_that_hold_secrets_are_known_by_name() -> None:
    environment = {
        "HF_TOKEN": "one-secret",
        "AWS_SECRET_ACCESS_KEY": "two",
        "WANDB_API_KEY": "three",
        "TUNEFARE_LEDGER_URL": "postgresql://u:p@h/d",
        "OTHER_LEDGER_URL": "postgresql://ann@db.team/runs",
        "THIRD_LEDGER_URL": "postgresql://db.team/runs?user=ann&password=p",
        "MY_THING": "named",
        NAMES_VARIABLE: "MY_THING",
        "GOOGLE_TOKEN": "/home/u/token.json",
        "PATH": "/usr/bin",
        "TOKENIZERS_PARALLELISM": "false",
    }
    assert set(secrets_in(environment)) == {
        "HF_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "WANDB_API_KEY",
        "TUNEFARE_LEDGER_URL",
        "THIRD_LEDGER_URL",
        "MY_THING",
    }


def test_a_stream_is_redacted_as_it_is_written() -> None:
    out = io.StringIO()
    stream = RedactedStream(out, Redactor({"T": "correct-horse"}))
    stream.write("it is correct-horse\n")
    stream.writelines(["correct-horse"])
    stream.flush()
    assert out.getvalue() == f"it is {MASK}\n{MASK}"


def test_a_log_is_rewritten_without_its_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "correct-horse")
    log = tmp_path / "log.txt"
    log.write_text("one\ncorrect-horse\nlast")
    redact_file(log)
    assert log.read_text() == f"one\n{MASK}\nlast"
    assert log.stat().st_mode & 0o077 == 0
    assert [file.name for file in tmp_path.iterdir()] == ["log.txt"]
    redact_file(tmp_path / "missing")
