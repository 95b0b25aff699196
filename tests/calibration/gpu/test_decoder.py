from collections.abc import Iterator

import numpy as np
import pytest
from msgspec import structs

from flowsim.calibration.costs.attention.kernels import Choice
from flowsim.calibration.costs.models import EXPERTS as BEHIND_THE_ROUTER
from flowsim.calibration.costs.models import ModelSpec
from flowsim.calibration.gpu.batch import CacheSlice
from flowsim.calibration.gpu.decoder import Decoder
from flowsim.core.operators import CHECKED_AFTER, LAYER_OPERATORS
from flowsim.errors import InputError

torch = pytest.importorskip("torch")

SPEC = ModelSpec("tiny", 2, 64, 4, 2, 16, 128, 97, 512, 10000.0, 1e-5)
IDS = np.random.default_rng(1).integers(0, SPEC.vocab, 60).tolist()


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture
def decoder() -> Decoder:
    return Decoder(SPEC, "cpu", rows=256, dtype="float32", seed=3)


def reference(decoder: Decoder, ids: list[int]) -> "torch.Tensor":
    """The logits after the last of these tokens, by a transformer written the long way, in float64."""
    spec, d = decoder.spec, decoder.spec.head_dim
    norm = lambda x: x / (x.pow(2).mean(-1, keepdim=True) + spec.norm_eps).sqrt()  # noqa: E731
    x = decoder.embedding[torch.tensor(ids)].double()
    n = len(ids)
    theta = torch.arange(n).double()[:, None] * spec.rope_theta ** (-torch.arange(0, d, 2).double() / d)
    turn = torch.polar(torch.ones_like(theta), theta)

    def rotate(v: "torch.Tensor") -> "torch.Tensor":
        pair = torch.complex(v[:, : d // 2], v[:, d // 2 :]) * turn
        return torch.cat([pair.real, pair.imag], 1)

    for weights in decoder.weights:
        w = {k: v.double() * weights.get(f"{k}_scale", 1) for k, v in weights.items() if v is not None}
        qkv = norm(x) @ w["qkv"].T + w.get("qkv_bias", torch.zeros(1))
        q, k, v = (part.split(d, 1) for part in qkv.split([spec.heads * d, spec.kv_heads * d, spec.kv_heads * d], 1))
        outs = []
        for h in range(spec.heads):
            g = h * spec.kv_heads // spec.heads
            if spec.qk_norm and not h:
                q, k = [norm(x) for x in q], [norm(x) for x in k]
            scores = rotate(q[h]) @ rotate(k[g]).T / d**0.5
            scores = scores.masked_fill(torch.ones(n, n).triu(1).bool(), -torch.inf)
            outs.append(scores.softmax(1) @ v[g])
        x = x + torch.cat(outs, 1) @ w["o"].T
        if not spec.experts:
            x = x + mlp(norm(x), w["gate_up"], w["down"])
            continue
        shares, chosen = (norm(x) @ w["router"].T).softmax(1).topk(spec.experts_per_token)
        shares = shares / shares.sum(1, keepdim=True)
        outs = [
            sum(s * mlp(row, w["gate_up"][e], w["down"][e]) for s, e in zip(shares[i], chosen[i], strict=True))
            for i, row in enumerate(norm(x))
        ]
        x = x + torch.stack(outs)
    return norm(x[-1]) @ decoder.head.double().T


def mlp(x: "torch.Tensor", gate_up: "torch.Tensor", down: "torch.Tensor") -> "torch.Tensor":
    gate, up = (x @ gate_up.T).chunk(2, -1)
    return (gate * gate.sigmoid() * up) @ down.T


def close(found: "torch.Tensor", expected: "torch.Tensor") -> bool:
    return bool(torch.allclose(found.double(), expected.double(), rtol=1e-3, atol=1e-4))


FP8 = structs.replace(SPEC, weights="fp8")
EXPERTS = structs.replace(SPEC, experts=6, experts_per_token=2, qk_norm=True)


@pytest.mark.parametrize(
    "spec", [SPEC, structs.replace(SPEC, qkv_bias=True), structs.replace(SPEC, qk_norm=True), EXPERTS]
)
def test_a_pass_computes_a_transformer(spec: ModelSpec) -> None:
    decoder = Decoder(spec, "cpu", rows=64, dtype="float32", seed=2)
    p = decoder.prepare([CacheSlice(40)], IDS[:40])
    next_ids = decoder.run(p)
    expected = reference(decoder, IDS[:40])
    assert close(p.logits[0], expected)
    assert next_ids.tolist() == [expected.argmax().item()]


@pytest.mark.parametrize("chunks", [(40,), (1, 39), (16, 16, 8), (39, 1)])
def test_chunks_give_what_the_whole_gives(decoder: Decoder, chunks: tuple[int, ...]) -> None:
    done = 0
    for tokens in chunks:
        p = decoder.prepare([CacheSlice(tokens, done, start=7)], IDS[done : done + tokens])
        decoder.run(p)
        done += tokens
    assert close(p.logits[0], reference(decoder, IDS[:40]))


def test_packed_prompts_do_not_see_each_other(decoder: Decoder) -> None:
    decoder.run(decoder.prepare([CacheSlice(13, 0, 100)], IDS[:13]))
    p = decoder.prepare(
        [CacheSlice(20, 0, 0), CacheSlice(27, 13, 100), CacheSlice(1, 0, 200)], IDS[20:40] + IDS[13:40] + IDS[:1]
    )
    decoder.run(p)
    for row, ids in enumerate((IDS[20:40], IDS[:40], IDS[:1])):
        assert close(p.logits[row], reference(decoder, ids))


def test_a_pass_that_others_interrupt_gives_the_same(decoder: Decoder) -> None:
    first = decoder.prepare([CacheSlice(30)], IDS[:30])
    for step in decoder.program:
        step.run(first)
        decoder.run(decoder.prepare([CacheSlice(9, 0, 50)], IDS[30:39]))
    assert close(first.logits[0], reference(decoder, IDS[:30]))


def operators(spec: ModelSpec) -> list[str]:
    lacking = {"gate_up_proj", "activation", "down_proj"} if spec.experts else {"router", *BEHIND_THE_ROUTER}
    return [name for name in LAYER_OPERATORS if name not in lacking | {"experts", "all_reduce_attn", "all_reduce_mlp"}]


@pytest.mark.parametrize("spec", [SPEC, EXPERTS])
def test_the_program_is_every_operator_of_every_layer_in_order(spec: ModelSpec) -> None:
    decoder = Decoder(spec, "cpu", rows=16, dtype="float32")
    layers = [(name, layer) for layer in range(2) for name in operators(spec)]
    assert [(s.operator, s.layer) for s in decoder.program] == [("embed", -1), *layers, ("head", 2)]


ENDS = {
    "none": [],
    "chunk": [],
    "layer": ["down_proj"],
    "block": ["o_proj", "down_proj"],
    "operator": ["qkv_proj", "attention", "o_proj", "gate_up_proj", "down_proj"],
}


@pytest.mark.parametrize("cut", CHECKED_AFTER)
@pytest.mark.parametrize("spec", [SPEC, EXPERTS])
def test_segments_end_at_the_cuts_and_are_the_program(cut: str, spec: ModelSpec) -> None:
    decoder = Decoder(spec, "cpu", rows=16, dtype="float32")
    segments = decoder.segments(cut)
    assert [run for segment in segments for run in segment] == [step.run for step in decoder.program]
    ends = [run.__name__ for run in (segment[-1] for segment in segments)]
    named = {"gate_up_proj": "router", "down_proj": "combine"} if spec.experts else {}
    assert ends == [*[named.get(name, name) for name in ENDS[cut]] * 2, "head"]


def test_tokens_do_not_grow_alike_from_layer_to_layer() -> None:
    spec = structs.replace(SPEC, layers=24, experts=16, experts_per_token=2)
    decoder = Decoder(spec, "cpu", rows=400, dtype="float32", attention=Choice("math"))
    p = decoder.prepare([CacheSlice(400)])
    decoder.run(p)
    assert decoder.expert_load(p) < 2.5  # 8 if all went to the same two


def test_the_busiest_expert_is_known() -> None:
    decoder = Decoder(EXPERTS, "cpu", rows=64, dtype="float32")
    p = decoder.prepare([CacheSlice(3)])
    p.chosen = torch.tensor([[0, 1], [0, 2], [0, 3]])
    assert decoder.expert_load(p) == 3.0  # of six chosen, one each is the mean


def test_the_same_seed_gives_the_same_weights_and_tokens() -> None:
    logits = []
    for seed in (5, 5, 6):
        decoder = Decoder(SPEC, "cpu", rows=64, dtype="float32", seed=seed)
        p = decoder.prepare([CacheSlice(10)])
        decoder.run(p)
        logits.append(p.logits)
    assert torch.equal(logits[0], logits[1])
    assert not torch.equal(logits[0], logits[2])


@pytest.mark.parametrize(
    ("slices", "ids", "message"),
    [
        ([], None, "at least one slice"),
        ([CacheSlice(3)], [1, 2], "ids: there are 2 for 3 tokens"),
        ([CacheSlice(0, 5)], None, "expected >= 1 token|must be >= 1 token within 256 cache rows"),
        ([CacheSlice(5, 0, 252)], None, "within 256 cache rows"),
        ([CacheSlice(5, -1)], None, "context=-1"),
    ],
)
def test_slices_that_do_not_fit(
    decoder: Decoder, slices: list[CacheSlice], ids: list[int] | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        decoder.prepare(slices, ids)


def test_an_unknown_cut(decoder: Decoder) -> None:
    with pytest.raises(InputError, match="unknown cut 'layers'; did you mean 'layer'"):
        decoder.segments("layers")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_on_a_gpu_chunks_and_packing_agree_with_the_whole() -> None:
    spec = ModelSpec("small", 2, 1024, 8, 2, 128, 2048, 1000, 4096, 500000.0, 1e-5)
    decoder = Decoder(spec, "cuda", rows=4096, seed=1)
    ids = np.random.default_rng(0).integers(0, spec.vocab, 700).tolist()
    whole = decoder.prepare([CacheSlice(700)], ids)
    decoder.run(whole)
    decoder.run(decoder.prepare([CacheSlice(300, 0, 2000)], ids[:300]))
    packed = decoder.prepare([CacheSlice(50, 0, 1000), CacheSlice(400, 300, 2000)], ids[:50] + ids[300:])
    decoder.run(packed)
    similar = torch.nn.functional.cosine_similarity(packed.logits[1].float(), whole.logits[0].float(), dim=0)
    assert similar > 0.999


@pytest.mark.parametrize("biased", [False, True])
def test_fp8_differs_from_its_own_weights_only_by_the_cast_of_activations(biased: bool) -> None:
    decoder = Decoder(structs.replace(FP8, qkv_bias=biased), "cpu", rows=256, dtype="float32", seed=3)
    assert {w["down"].dtype for w in decoder.weights} == {torch.float8_e4m3fn}
    p = decoder.prepare([CacheSlice(60)], IDS)
    decoder.run(p)
    expected = reference(decoder, IDS)
    error = float((p.logits[0].double() - expected).norm() / expected.norm())
    assert 1e-4 < error < 0.06  # a cast to 3 bits of mantissa errs by 2 to 4 %


def test_a_rank_that_adds_no_residual_in_fp8_gives_the_projection_alone() -> None:
    with_residual, without = (Decoder(FP8, "cpu", rows=64, dtype="float32", seed=3, adds_residual=a) for a in (1, 0))
    batches = [d.prepare([CacheSlice(8)]) for d in (with_residual, without)]
    for p, d in zip(batches, (with_residual, without), strict=True):
        next(s for s in d.program if s.operator == "embed").run(p)
        embedded = p.hidden.clone()
        for step in d.program[1:6]:  # to the output projection
            step.run(p)
    assert torch.allclose(batches[0].hidden - embedded, batches[1].hidden, atol=1e-5)
