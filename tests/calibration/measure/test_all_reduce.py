import pytest
from msgspec import structs

from flowsim.calibration.costs.fit import fit, fit_passes
from flowsim.calibration.costs.models import ModelSpec
from flowsim.calibration.costs.provenance import Provenance
from flowsim.calibration.costs.table import OperatorTable
from flowsim.calibration.costs.table_catalogue import load_table
from flowsim.calibration.costs.table_rows import ALL_REDUCE, HOST_OPERATORS, OperatorRow
from flowsim.calibration.gpu.batch import CacheSlice
from flowsim.calibration.gpu.decoder import REDUCED_BY, Decoder
from flowsim.calibration.measure.all_reduce import GroupGrid, join, measure_group
from flowsim.calibration.measure.repeats import RepeatLimits
from flowsim.errors import InputError

SPEC = ModelSpec("tiny", 2, 64, 4, 2, 16, 128, 97, 128, 10000.0, 1e-5)
ROWS = tuple(OperatorRow(ALL_REDUCE, n, 0, 10.0 + n, 9.0 + n, 11.0 + n, 4.0, 48, "nccl") for n in (1, 1024, 65536))
COLLECTIVE = OperatorTable(
    Provenance.of({"schema_version": 1, "gpu": "h200", "model": ALL_REDUCE, "width": 8192, "tp": 2}), ROWS
)


def alone() -> OperatorTable:
    """Of one GPU, of which it does not say in which waves it takes the heads: a rank has but half of them."""
    table = load_table("h200", "llama3-8b")
    return table.stating(multiprocessors=None)


def shard() -> OperatorTable:
    return alone().stating(tp=2)


def test_a_rank_joined_with_its_all_reduces_costs_two_a_layer() -> None:
    table = join(shard(), COLLECTIVE)
    cost, of_one = fit(table), fit(alone())
    # 2048 tokens 4096 wide have the bytes of 1024 tokens 8192 wide.
    assert cost.device["all_reduce_attn"](2048) == cost.device["all_reduce_mlp"](2048) == pytest.approx(1034e-6)
    more = 2 * 32 * 1034e-6
    assert cost.forward_s(2048) == pytest.approx(of_one.forward_s(2048) + more, rel=1e-3)
    assert cost.tp == 2
    assert table.provenance.all_reduce.sha256 == COLLECTIVE.digest()
    assert join(table, COLLECTIVE).operators == table.operators
    # Passes were measured on one rank without all-reduces; they are held against the same.
    assert cost.provenance.error == of_one.provenance.error


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(
        InputError,
        match="operators: no row of all_reduce; expected the table of a rank",
    ):
        fit(shard())
    with pytest.raises(InputError, match="tp of the all-reduces must be 1, as in the table, got 2"):
        join(load_table("h200", "llama3-8b"), COLLECTIVE)
    with pytest.raises(InputError, match="join: needs the table of a model, then one of all-reduces"):
        join(COLLECTIVE, shard())


def tiny_rank() -> OperatorTable:
    """A rank of two of a tiny model, measured with a pencil."""
    about = {"schema_version": 1, "gpu": "cpu", "model": "tiny", "tp": 2, "memory_bytes": 1 << 30}
    rows = [OperatorRow(name, n, 0, 10.0 * n, 1.0, 1.0, 5.0, 1, "math") for name in SPEC.operators for n in (1, 64)]
    rows += [OperatorRow(name, n, 0, 0.0, 0.0, 0.0, 5.0, 1, "host") for name in HOST_OPERATORS for n in (1, 64)]
    return OperatorTable(Provenance.of({**about, "model_spec": structs.asdict(SPEC)}), tuple(rows))


def test_two_processes_run_as_one_group_on_the_cpu() -> None:
    pytest.importorskip("torch")
    passes = (("none", "5@0"), ("operator", "20@10+7@0"), ("none", "500@0"))
    quickly = RepeatLimits(2, 3, 0.1, 0.0)
    grid = GroupGrid((1, 64, 500), passes, quickly, quickly)
    group = measure_group(tiny_rank(), device="cpu", grid=grid)
    assert [(r.operator, r.tokens, r.backend) for r in group.operators] == [
        (ALL_REDUCE, 1, "gloo"),
        (ALL_REDUCE, 64, "gloo"),  # 500 are more than the model's longest context
    ]
    assert all(r.device_us > 0 and r.host_us > 0 and r.repeats >= 2 for r in group.operators)
    assert [(p.cut, p.slices) for p in group.passes] == list(passes[:2])
    assert all(0 < p.wall_us_p10 <= p.wall_us <= p.wall_us_p90 for p in group.passes)
    whole = join(tiny_rank(), group)
    assert (whole.passes, whole.provenance.passes_of) == (group.passes, "group")
    # The error is that of a pass composed with its all-reduces, against the group's.
    composed_s = fit(whole).forward_s(5)
    error = fit(whole).provenance.error["whole prompt, below 1024 tokens"]
    assert error.median == pytest.approx(abs(composed_s / (group.passes[0].wall_us * 1e-6) - 1))
    assert composed_s > fit_passes(tiny_rank()).forward_s(5)


@pytest.mark.parametrize("spec", [SPEC, structs.replace(SPEC, experts=6, experts_per_token=2)])
def test_ranks_sum_their_outputs_and_the_residual_stream_once(spec: ModelSpec) -> None:
    torch = pytest.importorskip("torch")
    summed: list[object] = []
    with torch.inference_mode():
        leader, follower = (
            Decoder(spec.shard(2), "cpu", rows=64, dtype="float32", seed=seed, reduce=summed.append, adds_residual=adds)
            for seed, adds in ((0, True), (1, False))
        )
        alone = Decoder(spec.shard(2), "cpu", rows=64, dtype="float32", seed=1)
        passes = [decoder.prepare([CacheSlice(9, 0, 0)]) for decoder in (leader, follower, alone)]
        for steps in zip(leader.program, follower.program, strict=True):
            step = steps[0]
            for mine, p in zip(steps, passes, strict=False):
                mine.run(p)
            if step.operator not in REDUCED_BY.values():
                continue
            of_leader, of_follower = summed[-2:]
            assert of_leader is passes[0].hidden
            assert of_follower is passes[1].hidden
            if step.layer == 0 and step.operator == "all_reduce_attn":
                for other in alone.program[: leader.program.index(step)]:
                    other.run(passes[2])
                # A model of the same weights that adds its residual stream is ahead by just that.
                assert torch.allclose(passes[2].hidden - alone.embedding[passes[2].ids], passes[1].hidden, atol=1e-5)
            total = passes[0].hidden + passes[1].hidden
            for p in passes[:2]:
                p.hidden.copy_(total)
    assert [step.operator for step in leader.program if step.layer == 0][-1] == "all_reduce_mlp"


def test_it_takes_as_many_gpus_as_ranks() -> None:
    pytest.importorskip("torch")
    alone = tiny_rank().stating(tp=1)
    with pytest.raises(InputError, match="tp of the table must be >= 2: one GPU has nothing to reduce, got 1"):
        measure_group(alone, device="cpu")
