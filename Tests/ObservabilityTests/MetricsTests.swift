import Testing

@testable import Observability

@Suite struct CounterTests {
    @Test("A new counter reads zero") func startsAtZero() {
        #expect(Counter().current == 0)
    }

    @Test("A counter sums what was added, one by default") func sums() {
        let counter = Counter()
        counter.add()
        counter.add(41)
        counter.add(0)
        #expect(counter.current == 42)
    }

    @Test("Setting a counter replaces its value") func sets() {
        let counter = Counter()
        counter.add(5)
        counter.set(3)
        counter.add()
        #expect(counter.current == 4)
    }

    @Test("A counter wraps instead of trapping in the hot path") func wraps() {
        let counter = Counter()
        counter.set(.max)
        counter.add(2)
        #expect(counter.current == 1)
    }
}

@Suite struct HistogramTests {
    @Test("A value equal to a bound counts in that bound's bucket, one more in the next")
    func boundsAreInclusive() {
        let histogram = Histogram(bounds: [10, 20], scale: 1)
        for value: UInt64 in [0, 9, 10] { histogram.record(value) }
        #expect(histogram.counts == [3, 0, 0])
        for value: UInt64 in [11, 20] { histogram.record(value) }
        #expect(histogram.counts == [3, 2, 0])
    }

    @Test("A value past the last bound counts in the overflow bucket") func overflow() {
        let histogram = Histogram(bounds: [10, 20], scale: 1)
        histogram.record(21)
        histogram.record(1 << 62)
        #expect(histogram.counts == [0, 0, 2])
    }

    @Test("The sum is of the values, not of the bounds") func sum() {
        let histogram = Histogram(bounds: [10], scale: 1)
        for value: UInt64 in [1, 7, 1000] { histogram.record(value) }
        #expect(histogram.sum == 1008)
    }

    @Test("There is one bucket more than bounds, also with no bounds") func bucketCount() {
        let none = Histogram(bounds: [], scale: 1)
        none.record(5)
        #expect(none.counts == [1])
        #expect(Histogram.microseconds().counts.count == Histogram.microseconds().bounds.count + 1)
    }

    @Test(
        "The ready-made bounds rise strictly",
        arguments: [Histogram.microseconds(), Histogram.items()])
    func readyMadeBoundsRise(_ histogram: Histogram) {
        #expect(zip(histogram.bounds, histogram.bounds.dropFirst()).allSatisfy { $0 < $1 })
    }

    @Test(
        "Every ready-made bound is the upper edge of its own bucket",
        arguments: [Histogram.microseconds(), Histogram.items()])
    func everyBucketIsReached(_ histogram: Histogram) {
        for bound in histogram.bounds { histogram.record(bound) }
        #expect(histogram.counts == Array(repeating: 1, count: histogram.bounds.count) + [0])
    }

    @Test("Latencies are exposed in seconds, items as they are") func scales() {
        #expect(Histogram.microseconds().scale == 1e6)
        #expect(Histogram.items().scale == 1)
    }
}
