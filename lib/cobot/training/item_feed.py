"""Items for step after step, made ahead by threads or in between."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from cobot.training.items import ItemMaker, TrainingItem

BATCHES_AHEAD = 2


def feed(
    maker: ItemMaker, batches: Sequence[Sequence[int]], epoch: int, loaders: int
) -> Iterator[list[TrainingItem]]:
    """The items of each batch, in order; what they are does not depend on the threads.

    Args:
        maker: makes one item.
        batches: positions of samples.
        epoch: of the training.
        loaders: threads; 0 makes items when they are asked for.
    """
    if loaders == 0:
        for batch in batches:
            yield [maker.make(sample, epoch) for sample in batch]
        return
    with ThreadPoolExecutor(loaders, thread_name_prefix="slices") as threads:
        ahead: list[list[Future[TrainingItem]]] = []
        try:
            for batch in batches:
                ahead.append([threads.submit(maker.make, sample, epoch) for sample in batch])
                if len(ahead) > BATCHES_AHEAD:
                    yield [coming.result() for coming in ahead.pop(0)]
            while ahead:
                yield [coming.result() for coming in ahead.pop(0)]
        finally:
            for coming in (one for batch in ahead for one in batch):
                coming.cancel()
