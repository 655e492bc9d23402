"""The models that the app knows: every row of the seed makes orders that its model takes."""

from pathlib import Path
from typing import Any

import pytest
from database_harness import Database
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchgen.providers.inputs import provider_inputs, read_spec

ROOT = Path(__file__).parents[2]
MODELS = {
    "flux-schnell",
    "flux-dev",
    "flux-1.1-pro",
    "sdxl",
    "sdxl-lightning",
    "stable-diffusion-3.5-large",
    "ideogram-v3-turbo",
    "imagen-4-fast",
    "qwen-image",
    "seedream-3",
    "seedream-4",
    "recraft-v3",
}
# The inputs that the providers publish, with their ranges, written down from their pages and not from the seed.
PUBLISHED: dict[str, dict[str, tuple[float, float] | None]] = {
    "flux-schnell": {
        **dict.fromkeys(("prompt", "aspect_ratio", "seed", "output_format", "megapixels", "go_fast")),
        "num_outputs": (1, 4),
        "num_inference_steps": (1, 4),
        "output_quality": (0, 100),
    },
    "flux-dev": {
        **dict.fromkeys(("prompt", "aspect_ratio", "seed", "output_format", "megapixels", "go_fast")),
        "num_outputs": (1, 4),
        "num_inference_steps": (1, 50),
        "guidance": (0, 10),
        "output_quality": (0, 100),
    },
    "flux-1.1-pro": {
        **dict.fromkeys(("prompt", "aspect_ratio", "seed", "output_format", "prompt_upsampling")),
        "width": (256, 1440),
        "height": (256, 1440),
        "safety_tolerance": (1, 6),
        "output_quality": (0, 100),
    },
    "sdxl": {
        **dict.fromkeys(("prompt", "negative_prompt", "width", "height", "seed", "scheduler", "refine")),
        "num_outputs": (1, 4),
        "num_inference_steps": (1, 500),
        "guidance_scale": (1, 50),
    },
    "sdxl-lightning": {
        **dict.fromkeys(("prompt", "negative_prompt", "seed", "scheduler")),
        "width": (256, 1280),
        "height": (256, 1280),
        "num_outputs": (1, 4),
        "num_inference_steps": (1, 10),
        "guidance_scale": (0, 50),
    },
    "stable-diffusion-3.5-large": {
        **dict.fromkeys(("prompt", "negative_prompt", "aspect_ratio", "seed", "output_format")),
        "cfg": (1, 10),
    },
    "ideogram-v3-turbo": {**dict.fromkeys(("prompt", "aspect_ratio", "resolution")), "seed": (0, 2**31 - 1)},
    "imagen-4-fast": dict.fromkeys(("prompt", "aspect_ratio", "safety_filter_level", "output_format")),
    "qwen-image": {
        **dict.fromkeys(("prompt", "negative_prompt", "aspect_ratio", "image_size", "seed")),
        "num_inference_steps": (0, 50),
        "guidance": (0, 10),
    },
    "seedream-3": {
        **dict.fromkeys(("prompt", "aspect_ratio", "size", "seed")),
        "width": (512, 2048),
        "height": (512, 2048),
        "guidance_scale": (1, 10),
    },
    "seedream-4": {
        **dict.fromkeys(("prompt", "size", "aspect_ratio", "sequential_image_generation", "enhance_prompt")),
        "width": (1024, 4096),
        "height": (1024, 4096),
        "max_images": (1, 15),
    },
    "recraft-v3": dict.fromkeys(("prompt", "size", "style", "aspect_ratio")),
}


@pytest.fixture(scope="module")
def seed(shared_db: Database) -> dict[str, dict[str, Any]]:
    rows = shared_db.run("select * from batchgen.known_models")
    return {row["display_name"].lower().replace(" ", "-"): dict(row) for row in rows}


def test_the_seed_has_every_model_of_the_app_once(seed: dict[str, dict[str, Any]]) -> None:
    assert set(seed) == MODELS


@pytest.mark.parametrize("model", sorted(MODELS))
def test_every_row_describes_its_inputs_right(seed: dict[str, dict[str, Any]], model: str) -> None:
    row = seed[model]

    assert read_spec(row["inputs"]).prompt == "prompt"
    assert row["provider"] == "replicate"
    assert 0 < row["price_usd"] < 0.1
    assert 1 <= row["estimated_seconds"] <= 60


@pytest.mark.parametrize("model", sorted(MODELS))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    width=st.integers(64, 4096),
    height=st.integers(64, 4096),
    number=st.integers(-(2**63), 2**63 - 1),
    steps=st.none() | st.integers(1, 100),
    guidance=st.none() | st.floats(0, 30),
)
def test_every_order_is_one_that_the_model_takes(
    seed: dict[str, dict[str, Any]],
    model: str,
    width: int,
    height: int,
    number: int,
    steps: int | None,
    guidance: float | None,
) -> None:
    made = provider_inputs(
        seed[model]["inputs"],
        prompt="a red fox",
        negative_prompt="blurry",
        seed=number,
        width=width,
        height=height,
        steps=steps,
        guidance_scale=guidance,
    )

    assert made["prompt"] == "a red fox"
    assert set(made) <= set(PUBLISHED[model])
    for name, bounds in PUBLISHED[model].items():
        if bounds is not None and name in made:
            assert bounds[0] <= made[name] <= bounds[1]


@pytest.mark.parametrize("model", ["sdxl", "sdxl-lightning"])
def test_models_that_are_not_official_name_their_version(seed: dict[str, dict[str, Any]], model: str) -> None:
    assert len(seed[model]["provider_version"]) == 64


def test_the_defaults_are_within_the_models_own_ranges(seed: dict[str, dict[str, Any]]) -> None:
    for name, row in seed.items():
        made = provider_inputs(
            row["inputs"],
            prompt="a red fox",
            seed=0,
            width=1024,
            height=1024,
            steps=row["default_steps"],
            guidance_scale=row["default_guidance_scale"],
        )
        spec = read_spec(row["inputs"])
        for part, value in ((spec.steps, row["default_steps"]), (spec.guidance_scale, row["default_guidance_scale"])):
            assert value is None or (part is not None and made[part.name] == value), name


@pytest.mark.parametrize("model", sorted(MODELS))
def test_every_model_stands_in_the_documents_with_its_price(seed: dict[str, dict[str, Any]], model: str) -> None:
    row = seed[model]
    lines = (ROOT / "docs/models.md").read_text().splitlines()
    named = [line for line in lines if line.startswith(f"| {row['display_name']} |")]
    [price] = [line.split("|")[7] for line in named if f"| `{row['provider_model']}`" in line]
    [source] = [line.split("|")[3].strip() for line in named if f"| {row['display_name']} | `" not in line]

    assert f"{row['price_usd']:f}".rstrip("0")[:5] in price
    assert source.startswith("provider") or not row["is_checked"]
