"""The catalogue of GPUs: what it holds, one's own line of YAML, and the ways to a table that is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from flowsim.calibration.costs.gpus import IN_BF16, catalogue, completed, load_gpu, meant, ways
from flowsim.calibration.costs.table_catalogue import load_table, shipped_tables
from flowsim.errors import InputError

OWN = "architecture: rubin\nbf16_tflops: 4000\nbandwidth_tb_s: 13\nmemory_gib: 288\nmultiprocessors: 200\n"
OWN += "power_w: 1800\nsource: a rumour\n"


def test_the_catalogue_has_the_gpus_that_people_serve_on() -> None:
    wanted = "a100-40gb a100-80gb a800 h20 h100 h100-pcie h100-nvl h200 b200 gb200 l4 l40s rtx-4090 rtx-5090 "
    wanted += "rtx-pro-6000 mi300x mi325x gaudi3"
    assert set(catalogue()) == set(wanted.split())
    assert {name.gpu for name in shipped_tables()} <= set(catalogue())
    for name, gpu in catalogue().items():
        assert gpu.fp8_tflops is None or 1 <= gpu.fp8_tflops / gpu.bf16_tflops < 2.1, name
        assert 0.05 < gpu.bf16_tflops / gpu.power_w < 3, name  # rates with sparsity would be beyond it for some


@pytest.mark.parametrize("gpu", ["h100", "h200"])
def test_programs_see_as_much_memory_as_on_measured_gpus(gpu: str) -> None:
    stated = {"h100": 85017493504, "h200": 150109880320}  # as torch gives it
    assert catalogue()[gpu].memory_bytes == pytest.approx(stated[gpu], rel=0.002)


def test_a_file_of_one_s_own_is_named_after_itself(tmp_path: Path) -> None:
    (tmp_path / "r200.yaml").write_text(OWN)
    name, gpu = load_gpu(str(tmp_path / "r200.yaml"))
    assert (name, gpu.bf16_tflops, gpu.fp8_tflops, gpu.public) == ("r200", 4000, None, None)
    assert load_gpu("l4") == ("l4", catalogue()["l4"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OWN + "price: 1\n", "r.yaml: unknown field 'price'"),
        (OWN.replace("13", "0"), "r.yaml: bandwidth_tb_s must be > 0, got 0"),
        (OWN.replace("4000", "4e3"), "r.yaml: bf16_tflops must be a number > 0 (in YAML, write 4.0e+3), got '4e3'"),
        (OWN.replace("source: a rumour\n", ""), "r.yaml: lacks source"),
    ],
)
def test_a_wrong_file_is_refused(text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("r.yaml").write_text(text)
    with pytest.raises(InputError) as error:
        load_gpu("r.yaml")
    assert str(error.value).startswith(message)


def test_an_unknown_gpu_leads_to_the_catalogue_or_a_file() -> None:
    with pytest.raises(
        InputError, match=r"unknown gpu 'mi300'; did you mean 'mi300x'\?.*or a YAML file with the fields"
    ):
        load_gpu("mi300")


def test_the_ways_to_a_table_are_commands() -> None:
    assert ways("b200", "qwen3-8b", 2) == (
        "measured on that GPU (flowsim calibrate --model qwen3-8b --tp 2 --out DIR), "
        "imported (flowsim calibrate import aiconfigurator --system b200_sxm --model qwen3-8b --tp 2) "
        "or modelled (flowsim calibrate model --gpu b200 --model qwen3-8b --tp 2)"
    )
    assert ways("mi300x", "a model", 1) == (  # of which there are no public measurements, and no shape
        "measured on that GPU (flowsim calibrate --model config.json --out DIR) "
        "or modelled (flowsim calibrate model --gpu mi300x --model config.json)"
    )
    assert ways("a100_sxm", "llama3-8b", 1).endswith(
        "imported (flowsim calibrate import aiconfigurator --system a100_sxm --model llama3-8b) "
        "or modelled (flowsim calibrate model --gpu a100-80gb --model llama3-8b)"
    )
    assert ways("v100", "llama3-8b", 1) == (  # of which nothing is known
        "measured on that GPU (flowsim calibrate --model llama3-8b --out DIR) "
        "or modelled from its datasheet, written into v100.yaml as docs/calibration.md says "
        "(flowsim calibrate model --gpu v100.yaml --model llama3-8b)"
    )
    assert "(flowsim calibrate model --gpu h300.yaml --model llama3-8b)" in ways("h300.yaml", "llama3-8b", 1)


@pytest.mark.parametrize(
    ("gpu", "said"),
    [
        ("H200", "unknown gpu 'H200'; did you mean 'h200'? (known: h100, h200)"),
        ("b200_sxm", "there is no table of b200 (known: h100, h200); expected one of them, or a table measured"),
        ("a100", "there is no table of a100-80gb (known: h100, h200); expected"),
        ("h201", "unknown gpu 'h201'; did you mean 'h200'?"),
    ],
)
def test_another_name_of_a_gpu_is_understood(gpu: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        load_table(gpu, "llama3-8b")
    assert str(error.value).startswith(f"gpu: {said}")
    assert "measured" in str(error.value) or gpu == "H200"


def test_a_model_is_found_by_its_own_name_whatever_the_case() -> None:
    with pytest.raises(InputError, match=r"on h200; did you mean 'qwen3-8b', which has a table\?$"):
        load_table("h200", "Qwen3-8B")


def test_whose_all_reduces_stand_in_is_said() -> None:
    assert completed("b200", "t") == "flowsim calibrate all-reduce t --public b200_sxm"
    assert completed("mi300x", "t") == (
        "flowsim calibrate all-reduce t --public h200_sxm (over the NVLink of an H200: none of mi300x are public)"
    )


@pytest.mark.parametrize(
    ("name", "gpu"),
    [
        ("h100", "h100"), ("L40S", "l40s"), ("NVIDIA H100", "h100"), ("H100_PCIe", "h100-pcie"), ("a100", "a100-80gb"),
        ("a100_sxm", "a100-80gb"), ("MI300", "mi300x"), ("AMD MI325X", "mi325x"), ("rtx 4090", "rtx-4090"),
        ("v100", None), ("h", None), ("", None),
    ],
)  # fmt: skip
def test_a_gpu_is_found_by_its_name_in_other_words(name: str, gpu: str | None) -> None:
    assert meant(name) == gpu


GLM = "{model_type: glm4_moe, head_dim: 128, num_hidden_layers: 4, hidden_size: 256, num_attention_heads: 4, "
GLM += "num_key_value_heads: 4, intermediate_size: 512, vocab_size: 64, max_position_embeddings: 64"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (f"{GLM}}}", ["modelled (flowsim calibrate model --gpu h200 --model own)"]),
        (f"{GLM}, quantization_config: {{quant_method: fp8, activation_scheme: dynamic}}}}", [IN_BF16]),
        (f"{GLM}}}".replace("glm4_moe", "gemma2"), ["imported", "modelled"]),
    ],
)
def test_only_ways_that_work_are_named(
    config: str, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "config.json").write_text(json.dumps(yaml.safe_load(config)))
    parts = ways("h200", "own", 1).split(" or ")
    assert len(parts) == len(said)
    assert all(part.startswith(start) for part, start in zip(parts, said, strict=True))


def test_a_file_of_a_model_of_another_kind_says_so(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "deepseek_v3"}')
    with pytest.raises(InputError, match="deepseek_v3 has multi-head latent attention"):
        ways("h200", str(tmp_path), 1)
