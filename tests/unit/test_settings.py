"""Settings of providers: what cannot be right is refused at the start, by the variable's name and without its value."""

from pathlib import Path

import pytest

from batchgen.errors import InvalidRequest
from batchgen.settings import WorkerSettings, load

NEEDED = {"SUPABASE_URL": "http://project.test", "SUPABASE_SECRET_KEY": "sb_secret_hush"}


def loaded(folder: Path, **variables: str) -> WorkerSettings:
    file = folder / "worker.env"
    file.write_text("".join(f'{name}="{value}"\n' for name, value in {**NEEDED, **variables}.items()))
    return load(WorkerSettings, file)


@pytest.mark.parametrize(
    "name",
    [
        "BATCHGEN_REPLICATE_API_TOKEN",
        "BATCHGEN_FAL_KEY",
        "BATCHGEN_OPENAI_API_KEY",
        "BATCHGEN_COMFYUI_KEY",
        "BATCHGEN_AUTOMATIC1111_AUTH",
    ],
)
@pytest.mark.parametrize("value", ["hush:ключ", "hush:\\nhush", "   "])
def test_a_key_that_cannot_be_one_is_refused_by_name(tmp_path: Path, name: str, value: str) -> None:
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
def test_an_address_that_cannot_be_one_is_refused_by_name(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        loaded(tmp_path, **{name: value})

    assert name in refused.value.message
    assert "hush" not in str(refused.value.as_dict())


def test_blanks_around_keys_and_addresses_are_taken_off(tmp_path: Path) -> None:
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
def test_credentials_name_a_user(tmp_path: Path, value: str) -> None:
    with pytest.raises(InvalidRequest, match=r"BATCHGEN_AUTOMATIC1111_AUTH.*user:password"):
        loaded(tmp_path, BATCHGEN_AUTOMATIC1111_AUTH=value)


def test_openai_itself_is_not_free(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="BATCHGEN_OPENAI_IS_FREE needs BATCHGEN_OPENAI_URL"):
        loaded(tmp_path, BATCHGEN_OPENAI_IS_FREE="true", BATCHGEN_OPENAI_API_KEY="sk-hush")


def test_what_is_left_empty_is_not_set(tmp_path: Path) -> None:
    settings = loaded(tmp_path, BATCHGEN_FAL_KEY="", BATCHGEN_COMFYUI_URL="")

    assert (settings.fal_key, settings.comfyui_url, settings.provider) == (None, None, "model")


def test_all_keys_are_known_as_secrets(tmp_path: Path) -> None:
    settings = loaded(tmp_path, BATCHGEN_FAL_KEY="fal-hush", BATCHGEN_AUTOMATIC1111_AUTH="me:hush")

    assert sorted(settings.secrets()) == ["fal-hush", "me:hush", "sb_secret_hush"]
    assert "hush" not in repr(settings)


def test_another_bucket_is_refused(tmp_path: Path) -> None:
    """Nothing would ever be deleted there: the database knows one bucket."""
    with pytest.raises(InvalidRequest, match="has to be generated-images") as refused:
        loaded(tmp_path, BATCHGEN_BUCKET="pics")

    assert refused.value.field == "BATCHGEN_BUCKET"
    assert loaded(tmp_path, BATCHGEN_BUCKET="generated-images").bucket == "generated-images"


@pytest.mark.parametrize(
    ("networks", "words"),
    [
        ("198.18.0.5/15", "has to be networks"),
        ("everything", "has to be networks"),
        ("0.0.0.0/0", "larger than /10"),
        ("10.0.0.0/9", "larger than /10"),
        ("fc00::/7", "larger than /10"),
        ("127.0.0.0/16", "of this machine alone"),
        ("169.254.169.254/32", "of this machine alone"),
        ("::1/128", "of this machine alone"),
        (",".join(f"10.0.{number}.0/24" for number in range(9)), "at most 8 networks"),
    ],
)
def test_networks_that_count_as_the_internets_are_bounded(
    monkeypatch: pytest.MonkeyPatch, networks: str, words: str
) -> None:
    monkeypatch.setenv("SUPABASE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("SUPABASE_SECRET_KEY", "sb_secret_for_this_test")
    monkeypatch.setenv("BATCHGEN_PICTURE_NETWORKS", networks)

    with pytest.raises(InvalidRequest, match=words):
        load(WorkerSettings)
