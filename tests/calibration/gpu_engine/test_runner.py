"""The runner's thread."""

import threading

import pytest

from flowsim.calibration.gpu.batch import CacheSlice
from flowsim.calibration.gpu.decoder import Decoder
from flowsim.calibration.gpu.graphs import Launcher
from flowsim.calibration.gpu_engine.runner import Job, Member, Runner, launch

torch = pytest.importorskip("torch")


@pytest.mark.usefixtures("inference")
@pytest.mark.parametrize("cut", ["none", "layer", "block", "operator"])
def test_a_forward_stops_after_the_segment_in_which_it_is_signalled_and_goes_on(decoder: Decoder, cut: str) -> None:
    ids = decoder.random_ids(0, 0, 50)
    whole = decoder.prepare([CacheSlice(50)], ids)
    decoder.run(whole)
    for launcher in (Launcher(decoder, cut), Launcher(decoder, cut, [64])):
        forward, at, stops = launcher.ready([CacheSlice(50)], ids), 0, 0
        while at < len(forward.segments):
            at = launch(forward, lambda: None, lambda: True, at)
            stops += 1
            decoder.run(decoder.prepare([CacheSlice(70, start=100)]))  # another, meanwhile
        assert stops == len(decoder.segments(cut))
        assert torch.allclose(forward.batch.logits, whole.logits, atol=1e-5)


@pytest.mark.usefixtures("inference")
def test_a_job_of_several_forwards_ends_its_members_where_they_end(decoder: Decoder) -> None:
    sizes, starts = (100, 30, 250), (0, 200, 300)
    ids = [decoder.random_ids(i, 0, n) for i, n in enumerate(sizes)]
    members = [Member(CacheSlice(n, 0, start), of) for n, start, of in zip(sizes, starts, ids, strict=True)]
    job, signals = Job(members, 128), iter([True, False] * 100)
    times = 1
    done = [job.done[0]]
    while not job.run(Launcher(decoder, "layer", [64]), lambda: None, lambda: next(signals)):
        times += 1
        done.append(job.done[0])
    assert times > 3
    assert done == sorted(done)
    assert job.done == (380, job.elapsed_s)
    for place, (n, of) in enumerate(zip(sizes, ids, strict=True)):
        next_ids, row = job.next_ids[place]
        assert next_ids[row] == decoder.run(decoder.prepare([CacheSlice(n, start=1000)], of))[0]


def test_leaving_a_runner_stops_it_in_the_middle_of_a_job(decoder: Decoder) -> None:
    told: list[object] = []
    with Runner(decoder) as runner:
        runner.serve("operator", told.append)
        runner.start(Job([Member(CacheSlice(2000), decoder.random_ids(0, 0, 2000))], 2000))
    assert "runner" not in {thread.name for thread in threading.enumerate()}
    assert len(told) == 1


def test_a_runner_does_other_work_in_its_thread_and_raises_what_that_raises(decoder: Decoder) -> None:
    threads: list[str] = []
    with Runner(decoder) as runner:
        runner.call(lambda _: threads.append(threading.current_thread().name))
        with pytest.raises(ZeroDivisionError):
            runner.call(lambda _: 1 / 0)  # type: ignore[arg-type,return-value]
    assert threads == ["runner"]
