"""Settings of providers: wrong values are refused at the start, with the variable's name and without its value."""

import base64
import json
import os
from pathlib import Path

import pytest

from batchgen.client.client import BatchgenClient
from batchgen.errors import InvalidRequest
from batchgen.settings import Settings, WorkerSettings, load

NEEDED = {"SUPABASE_URL": "http://project.test", "SUPABASE_SECRET_KEY": "sb_secret_hush"}

WARNED: list[str] = []


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    WARNED.clear()
    for name in os.environ:
        if name.startswith(("BATCHGEN_", "SUPABASE_")):
            monkeypatch.delenv(name)


def loaded(folder: Path, **variables: str) -> WorkerSettings:
    file = folder / "worker.env"
    file.write_text("".join(f'{name}="{value}"\n' for name, value in {**NEEDED, **variables}.items()))
    return load(WorkerSettings, file, warn=WARNED.append)


@pytest.mark.parametrize(
    "name",
    [
        "SUPABASE_SECRET_KEY",
        "SUPABASE_PUBLISHABLE_KEY",
        "SUPABASE_ANON_KEY",
        "BATCHGEN_REPLICATE_API_TOKEN",
        "BATCHGEN_FAL_KEY",
        "BATCHGEN_OPENAI_API_KEY",
        "BATCHGEN_COMFYUI_KEY",
        "BATCHGEN_AUTOMATIC1111_AUTH",
    ],
)
@pytest.mark.parametrize("value", ["hush:ключ", "hush:\\nhush", "hush:\x07hush", "   "])
def test_an_invalid_key_is_refused_by_name(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        loaded(tmp_path, **{name: value})

    assert name in refused.value.message
    assert refused.value.field == name
    assert "hush" not in str(refused.value.as_dict())


@pytest.mark.parametrize(
    "name",
    [
        "BATCHGEN_REPLICATE_URL",
        "BATCHGEN_FAL_URL",
        "BATCHGEN_OPENAI_URL",
        "BATCHGEN_COMFYUI_URL",
        "BATCHGEN_AUTOMATIC1111_URL",
    ],
)
@pytest.mark.parametrize(
    "value",
    [
        "hush.example",
        "ftp://hush.example",
        "http://",
        "http://me:hush@gpu.lan",
        "http://gpu.lan/?token=hush",
        "http://gpu.lan/#hush",
        "http://hush.example:99999",
    ],
)
def test_an_invalid_address_is_refused_by_name(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        loaded(tmp_path, **{name: value})

    assert name in refused.value.message
    assert "hush" not in str(refused.value.as_dict())


def test_blanks_around_keys_and_addresses_are_stripped(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        BATCHGEN_FAL_KEY="  id:key  ",
        BATCHGEN_COMFYUI_URL=" http://GPU.lan:8188/ ",
        BATCHGEN_OPENAI_URL="https://x.test/v1/",
    )

    assert settings.fal_key
    assert settings.fal_key.get_secret_value() == "id:key"
    assert str(settings.comfyui_url) == "http://gpu.lan:8188/"


@pytest.mark.parametrize("value", ["password", ":password"])
def test_credentials_need_a_user(tmp_path: Path, value: str) -> None:
    with pytest.raises(InvalidRequest, match=r"BATCHGEN_AUTOMATIC1111_AUTH.*user:password"):
        loaded(tmp_path, BATCHGEN_AUTOMATIC1111_AUTH=value)


def test_openai_is_free_needs_an_own_server(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="BATCHGEN_OPENAI_IS_FREE needs BATCHGEN_OPENAI_URL"):
        loaded(tmp_path, BATCHGEN_OPENAI_IS_FREE="true", BATCHGEN_OPENAI_API_KEY="sk-hush")


def test_an_empty_value_counts_as_unset(tmp_path: Path) -> None:
    settings = loaded(tmp_path, BATCHGEN_FAL_KEY="", BATCHGEN_COMFYUI_URL="")

    assert (settings.fal_key, settings.comfyui_url, settings.provider) == (None, None, "model")


def test_all_keys_are_listed_as_secrets(tmp_path: Path) -> None:
    settings = loaded(tmp_path, BATCHGEN_FAL_KEY="fal-hush", BATCHGEN_AUTOMATIC1111_AUTH="me:hush")

    assert sorted(settings.secrets()) == ["fal-hush", "me:hush", "sb_secret_hush"]
    assert "hush" not in repr(settings)


def test_another_bucket_is_refused(tmp_path: Path) -> None:
    """The database knows one bucket: files in any other would never be deleted."""
    with pytest.raises(InvalidRequest, match="must be generated-images") as refused:
        loaded(tmp_path, BATCHGEN_BUCKET="pics")

    assert refused.value.field == "BATCHGEN_BUCKET"
    assert loaded(tmp_path, BATCHGEN_BUCKET="generated-images").bucket == "generated-images"


@pytest.mark.parametrize(
    ("networks", "words"),
    [
        ("198.18.0.5/15", "must be networks separated by commas"),
        ("everything", "must be networks separated by commas"),
        ("0.0.0.0/0", "larger than /10"),
        ("10.0.0.0/9", "larger than /10"),
        ("fc00::/7", "larger than /10"),
        ("127.0.0.0/16", "local to this machine"),
        ("169.254.169.254/32", "local to this machine"),
        ("::1/128", "local to this machine"),
        (",".join(f"10.0.{number}.0/24" for number in range(9)), "at most 8 networks"),
    ],
)
def test_picture_networks_are_limited(monkeypatch: pytest.MonkeyPatch, networks: str, words: str) -> None:
    monkeypatch.setenv("SUPABASE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("SUPABASE_SECRET_KEY", "sb_secret_for_this_test")
    monkeypatch.setenv("BATCHGEN_PICTURE_NETWORKS", networks)

    with pytest.raises(InvalidRequest, match=words):
        load(WorkerSettings, warn=WARNED.append)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("https://me:hush@abc.supabase.co", "contains a user or password"),
        ("https://hush@abc.supabase.co", "contains a user or password"),
        ("https://abc.supabase.co/rest/v1", "contains a path.*without /rest/v1"),
        ("https://abc.supabase.co/rest/v1/", "contains a path"),
        ("https://supabase.com/dashboard/project/hush", "contains a path"),
        ("https://abc.supabase.co?apikey=hush", "contains a query"),
        ("https://abc.supabase.co/#hush", "contains a query or fragment"),
        ("abc.supabase.co", "is not an http.* address"),
        ("postgresql://postgres:hush@db.abc.supabase.co:5432/postgres", "is not an http.* address"),
        ("https://", "is not an http.* address"),
        ("https://abc.supabase.co:hush", "is not an http.* address"),
    ],
)
@pytest.mark.parametrize("kind", [Settings, WorkerSettings])
def test_a_project_url_has_no_path_query_or_credentials(
    monkeypatch: pytest.MonkeyPatch, kind: type[Settings], value: str, words: str
) -> None:
    monkeypatch.setenv("SUPABASE_SECRET_KEY", "sb_secret_x")
    monkeypatch.setenv("SUPABASE_URL", value)

    with pytest.raises(InvalidRequest, match=f"SUPABASE_URL: {words}") as refused:
        load(kind, warn=WARNED.append)

    assert refused.value.field == "SUPABASE_URL"
    assert "hush" not in str(refused.value.as_dict())


@pytest.mark.parametrize("value", ["https://abc.supabase.co", "https://abc.supabase.co/", " http://127.0.0.1:54321 "])
def test_a_plain_project_url_is_accepted(tmp_path: Path, value: str) -> None:
    assert loaded(tmp_path, SUPABASE_URL=value).url == value.strip().rstrip("/")


@pytest.mark.parametrize("name", ["SUPABASE_SECRET_KEY", "BATCHGEN_FAL_KEY"])
def test_a_key_with_blanks_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidRequest, match=f"{name}: is empty or contains spaces.*paste only the key") as refused:
        loaded(tmp_path, **{name: "hush hush"})

    assert "hush" not in str(refused.value.as_dict())


def test_a_password_may_have_blanks(tmp_path: Path) -> None:
    pair = loaded(tmp_path, BATCHGEN_AUTOMATIC1111_AUTH="me:two words").automatic1111_auth

    assert pair
    assert pair.get_secret_value() == "me:two words"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("BATCHGEN_MAX_PARALLEL", "many", "is not a whole number; allowed: whole numbers from 1 to 1,000"),
        ("BATCHGEN_MAX_PARALLEL", "2.5", "is not a whole number; allowed: whole numbers from 1 to 1,000"),
        ("BATCHGEN_MAX_PARALLEL", "0", "is too small; allowed: whole numbers from 1 to 1,000"),
        ("BATCHGEN_MAX_PARALLEL", "1001", r"is too large; .* change or remove it \(default 20\)"),
        ("BATCHGEN_MAX_PARALLEL", "9" * 5000, "is not a whole number"),
        ("BATCHGEN_POLL_SECONDS", "soon", "is not a number; allowed: numbers from 0.05 to 86,400"),
        ("BATCHGEN_POLL_SECONDS", "nan", "is not a number; allowed: numbers from 0.05 to 86,400"),
        ("BATCHGEN_POLL_SECONDS", "inf", "is not a number"),
        ("BATCHGEN_OFFLINE_SECONDS", "nan", "is not a number; allowed: numbers from 0 to 3,600"),
        ("BATCHGEN_WORKER_NAME", " ", "is blank or contains control characters; use a name such as worker-1"),
        ("BATCHGEN_WORKER_NAME", "a\x1b[31mb", "is blank or contains control characters"),
        ("BATCHGEN_WORKER_NAME", "a\nb", "is blank or contains control characters"),
        ("BATCHGEN_LOG_LEVEL", "trace", "is not a known value; allowed: debug, info"),
        ("BATCHGEN_OFFLINE_COMMANDS", "perhaps", "is neither true nor false; allowed: true, false"),
        ("BATCHGEN_PROVIDER", "fal", "is not a known value; allowed: model, offline"),
        ("BATCHGEN_WORKER_NAME", "x" * 201, "is too long; allowed: 1 to 200 characters"),
        ("BATCHGEN_OPENAI_URL", "x", "is not an http.s. address; use one such as https://host"),
        ("BATCHGEN_BUCKET", "pics", "must be generated-images"),
    ],
)
def test_each_invalid_setting_is_named_with_limit_and_remedy(
    tmp_path: Path, name: str, value: str, sentence: str
) -> None:
    with pytest.raises(InvalidRequest, match=f"{name}: {sentence}") as refused:
        loaded(tmp_path, **{name: value})

    assert refused.value.field == name
    told = refused.value.message.lower()
    assert not any(words in told for words in ("value error", "input should", "unable to parse", "valid string"))


def test_all_invalid_settings_are_reported_together(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"BATCHGEN_MAX_PARALLEL: .* BATCHGEN_POLL_SECONDS: "):
        loaded(tmp_path, BATCHGEN_MAX_PARALLEL="0", BATCHGEN_POLL_SECONDS="0")


def test_a_missing_setting_is_named_with_a_similar_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidRequest, match="SUPABASE_URL: is missing; set it"):
        load(Settings, warn=WARNED.append)

    monkeypatch.setenv("SUPBASE_URL", "http://project.test")
    with pytest.raises(InvalidRequest, match="SUPABASE_URL: is missing; SUPBASE_URL is set: rename it"):
        load(Settings, warn=WARNED.append)


@pytest.mark.parametrize("kind", [Settings, WorkerSettings])
@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("BATCHGEN_MAX_PARALEL", "BATCHGEN_MAX_PARALLEL"),
        ("batchgen_lease_second", "BATCHGEN_LEASE_SECONDS"),
        ("BATCHGEN_FALL_KEY", "BATCHGEN_FAL_KEY"),
        ("BATCHGEN_OPERATER", "BATCHGEN_OPERATOR"),
    ],
)
@pytest.mark.parametrize("in_file", [True, False])
def test_a_misspelt_setting_is_refused_with_the_nearest_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: type[Settings], name: str, nearest: str, in_file: bool
) -> None:
    file = tmp_path / "misspelt.env"
    needed = "".join(f"{key}={value}\n" for key, value in NEEDED.items())
    file.write_text(f"{needed}{name}=hush\n" if in_file else needed)
    if not in_file:
        monkeypatch.setenv(name, "hush")

    with pytest.raises(InvalidRequest, match=f"{name.upper()}: is not a setting; did you mean {nearest}") as refused:
        load(kind, file, warn=WARNED.append)

    assert refused.value.field == name.upper()
    assert "hush" not in str(refused.value.as_dict())


def test_other_unknown_settings_only_warn(tmp_path: Path) -> None:
    loaded(tmp_path, BATCHGEN_LEASE="9", BATCHGEN_XYZ="9")

    assert WARNED == [
        "BATCHGEN_LEASE is not a batchgen setting and has no effect; the closest name is BATCHGEN_LEASE_SECONDS",
        "BATCHGEN_XYZ is not a batchgen setting and has no effect; docs/settings.md lists all settings",
    ]


def test_variables_used_elsewhere_do_not_warn(tmp_path: Path) -> None:
    elsewhere = ("ENV_FILE", "USER", "OPERATOR", "CACHE_DIR", "CHECKS", "FUZZ_CASES", "TEST_POSTGRES", "TEST_ANYTHING")

    loaded(tmp_path, **{f"BATCHGEN_{name}": "1" for name in elsewhere}, OTHER_THING="1")

    assert WARNED == []


def test_a_binary_settings_file_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "odd.env"
    file.write_bytes(b"SUPABASE_URL=\xff\xfe\n")

    with pytest.raises(InvalidRequest, match=r"odd\.env cannot be read; it must be a UTF-8 text file"):
        load(Settings, file, warn=WARNED.append)


def a_jwt(**payload: str) -> str:
    def part(data: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")

    return f"{part({'alg': 'HS256'})}.{part(payload)}.c2lnbmF0dXJl"


@pytest.mark.parametrize("key", ["sb_publishable_x", a_jwt(role="anon"), a_jwt(role="authenticated")])
def test_a_users_key_is_refused_as_secret_key(tmp_path: Path, key: str) -> None:
    with pytest.raises(InvalidRequest, match="SUPABASE_SECRET_KEY: is a key for users; put the"):
        loaded(tmp_path, SUPABASE_SECRET_KEY=key)


@pytest.mark.parametrize("key", ["sb_secret_x", a_jwt(role="service_role")])
def test_the_secret_key_is_refused_as_publishable_key(tmp_path: Path, key: str) -> None:
    with pytest.raises(InvalidRequest, match="SUPABASE_PUBLISHABLE_KEY: is the secret key") as refused:
        loaded(tmp_path, SUPABASE_PUBLISHABLE_KEY=key)

    assert key not in str(refused.value)


@pytest.mark.parametrize("key", ["a.b.c", "eyJhbGciOiJIUzI1NiJ9.W10.x", "a" * 40, a_jwt(role="service_role")])
def test_a_key_of_unknown_kind_is_accepted(tmp_path: Path, key: str) -> None:
    assert loaded(tmp_path, SUPABASE_SECRET_KEY=key).supabase_secret_key


def test_a_key_of_another_project_is_refused(tmp_path: Path) -> None:
    key = a_jwt(role="service_role", ref="abcdefghij")
    with pytest.raises(InvalidRequest, match="SUPABASE_SECRET_KEY is a key of the project abcdefghij"):
        loaded(tmp_path, SUPABASE_URL="https://klmnop.supabase.co", SUPABASE_SECRET_KEY=key)

    for url in ("https://abcdefghij.supabase.co", "https://api.example.com", "http://127.0.0.1:54321"):
        assert loaded(tmp_path, SUPABASE_URL=url, SUPABASE_SECRET_KEY=key).url == url


def test_log_settings_are_case_insensitive(tmp_path: Path) -> None:
    settings = loaded(tmp_path, BATCHGEN_LOG_LEVEL="WARNING", BATCHGEN_LOG_FORMAT="Json")

    assert (settings.log_level, settings.log_format) == ("warning", "json")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("BATCHGEN_MAX_PARALLEL: 5", "line 3 .* is not NAME=value"),
        ("!!! notes to myself", "line 3 .* is not NAME=value"),
        ('BATCHGEN_FAL_KEY="never closed', "line 3 .* is not NAME=value"),
        ("BATCHGEN_MAX_PARALLEL", "line 3 .* has BATCHGEN_MAX_PARALLEL without a value"),
    ],
)
def test_an_unusable_settings_line_is_refused_by_its_number(tmp_path: Path, line: str, told: str) -> None:
    file = tmp_path / "worker.env"
    file.write_text(f"SUPABASE_URL=http://project.test\nSUPABASE_SECRET_KEY=sb_secret_hush\n{line}\n")

    with pytest.raises(InvalidRequest, match=told):
        load(WorkerSettings, file, warn=WARNED.append)


def test_the_environment_wins_over_the_settings_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BATCHGEN_MAX_PARALLEL", "5")

    assert loaded(tmp_path, BATCHGEN_MAX_PARALLEL="0").max_parallel == 5


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://abc.supabase.co/rest/v1", "The project's address contains a path"),
        ("https://me:hush@abc.supabase.co", "The project's address contains a user or password"),
        ("abc.supabase.co", "The project's address is not an http"),
    ],
)
async def test_the_library_refuses_an_address_for_the_same_reasons_as_the_settings(url: str, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason) as refused:
        await BatchgenClient.operator(url, "sb_secret_x")

    assert (refused.value.code, refused.value.field) == ("invalid_url", "url")
    assert "hush" not in str(refused.value.as_dict())
