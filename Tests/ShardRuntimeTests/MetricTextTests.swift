import Bytes
import Observability
import Testing

@testable import ShardRuntime

private func written(isOpenMetrics: Bool = false, _ write: (MetricText) -> Void) -> String {
    let out = ByteWriter(capacity: 16)
    write(MetricText(out: out, isOpenMetrics: isOpenMetrics))
    return out.string()
}

private func lines(_ write: (MetricText) -> Void) -> [String] {
    written(write).split(separator: "\n").map(String.init)
}

private func histogram(_ bounds: [UInt64], scale: Double = 1, _ values: UInt64...) -> Histogram {
    let histogram = Histogram(bounds: bounds, scale: scale)
    for value in values { histogram.record(value) }
    return histogram
}

@Suite struct MetricTextTests {
    @Test func `A counter's family is named with its suffix in 0.0.4, and without in OpenMetrics`()
    {
        let write = { (text: MetricText) in text.single("chat_x", .counter, "Things.", 7) }
        #expect(
            written(isOpenMetrics: false, write)
                == "# HELP chat_x_total Things.\n# TYPE chat_x_total counter\nchat_x_total 7\n")
        #expect(
            written(isOpenMetrics: true, write)
                == "# HELP chat_x Things.\n# TYPE chat_x counter\nchat_x_total 7\n")
    }

    @Test func `A gauge and a histogram have one name in both formats`() {
        for isOpenMetrics in [false, true] {
            #expect(
                written(isOpenMetrics: isOpenMetrics) { $0.single("chat_g", .gauge, "Now.", .max) }
                    == "# HELP chat_g Now.\n# TYPE chat_g gauge\nchat_g 18446744073709551615\n")
            #expect(
                written(isOpenMetrics: isOpenMetrics) { $0.family("chat_h", .histogram, "Spread.") }
                    == "# HELP chat_h Spread.\n# TYPE chat_h histogram\n")
        }
    }

    @Test func `A sample has its labels in their order, and no braces without any`() {
        #expect(written { $0.sample("m", [], 0 as UInt64) } == "m 0\n")
        #expect(written { $0.sample("m", [("a", "1")], 2 as UInt64) } == "m{a=\"1\"} 2\n")
        #expect(
            written { $0.sample("m", [("b", "1"), ("a", ""), ("c", "x y")], 3 as UInt64) }
                == "m{b=\"1\",a=\"\",c=\"x y\"} 3\n")
        #expect(written { $0.sample("m", [], 0.25) } == "m 0.25\n")
        #expect(written { $0.sample("m", [], 1_754_000_000.5) } == "m 1754000000.5\n")
    }

    @Test(arguments: [
        (#"a"b"#, #"a\"b"#), (#"a\b"#, #"a\\b"#), ("a\nb", #"a\nb"#), (#"\n"#, #"\\n"#),
        (#"""#, #"\""#), (#"\"#, #"\\"#), (#"\""#, #"\\\""#), ("}", "}"), ("a=b,c", "a=b,c"),
        ("é😀", "é😀"), ("a\tb", "a\tb"), (#"x",evil="1"#, #"x\",evil=\"1"#),
        ("x\"} 1\nevil 2", #"x\"} 1\nevil 2"#),
    ])
    func `A label's value cannot leave its quotes or its line`(_ value: String, _ escaped: String) {
        #expect(
            written { $0.sample("m", [("a", value)], 1 as UInt64) } == "m{a=\"\(escaped)\"} 1\n")
    }
}

@Suite struct MetricHistogramTests {
    @Test func `Buckets are cumulative, the last is the count`() {
        let found = lines {
            $0.histogram(
                "h", "Sizes.", [([], [histogram([1, 10, 100], 0, 1, 2, 10, 11, 101, 1000)])])
        }
        #expect(
            found == [
                "# HELP h Sizes.", "# TYPE h histogram", #"h_bucket{le="1.0"} 2"#,
                #"h_bucket{le="10.0"} 4"#, #"h_bucket{le="100.0"} 5"#, #"h_bucket{le="+Inf"} 7"#,
                "h_sum 1125.0", "h_count 7",
            ])
    }

    @Test func `One that recorded nothing has every bucket, at zero`() {
        let found = lines { $0.histogram("h", "Sizes.", [([], [histogram([1, 2])])]) }
        #expect(
            found.dropFirst(2) == [
                #"h_bucket{le="1.0"} 0"#, #"h_bucket{le="2.0"} 0"#, #"h_bucket{le="+Inf"} 0"#,
                "h_sum 0.0", "h_count 0",
            ])
    }

    @Test func `Bounds and sum are in the unit that is told, counts are not scaled`() {
        let found = lines {
            $0.histogram(
                "h", "Time.", [([], [histogram([50, 1000, 2_500_000], scale: 1e6, 50, 999)])])
        }
        #expect(
            found.dropFirst(2) == [
                #"h_bucket{le="5e-05"} 1"#, #"h_bucket{le="0.001"} 2"#, #"h_bucket{le="2.5"} 2"#,
                #"h_bucket{le="+Inf"} 2"#, "h_sum 0.001049", "h_count 2",
            ])
    }

    @Test func `The histograms of one series are added up, bucket by bucket`() {
        let cores = [
            histogram([5, 10], 1, 7), histogram([5, 10]), histogram([5, 10], 10, 11, 12),
        ]
        let found = lines { $0.histogram("h", "Sizes.", [([], cores)]) }
        #expect(
            found.dropFirst(2) == [
                #"h_bucket{le="5.0"} 1"#, #"h_bucket{le="10.0"} 3"#, #"h_bucket{le="+Inf"} 5"#,
                "h_sum 41.0", "h_count 5",
            ])
    }

    @Test func `Each series has its own labels before the bound's, under one header`() {
        let found = lines {
            $0.histogram(
                "h", "Sizes.",
                [
                    ([("stage", "a")], [histogram([1], 1)]),
                    ([("stage", "none")], []),
                    ([("stage", "b"), ("x", "y")], [histogram([1], 2)]),
                ])
        }
        #expect(
            found == [
                "# HELP h Sizes.", "# TYPE h histogram", #"h_bucket{stage="a",le="1.0"} 1"#,
                #"h_bucket{stage="a",le="+Inf"} 1"#, #"h_sum{stage="a"} 1.0"#,
                #"h_count{stage="a"} 1"#, #"h_bucket{stage="b",x="y",le="1.0"} 0"#,
                #"h_bucket{stage="b",x="y",le="+Inf"} 1"#, #"h_sum{stage="b",x="y"} 2.0"#,
                #"h_count{stage="b",x="y"} 1"#,
            ])
    }

    @Test(arguments: [Histogram.microseconds(), Histogram.items()])
    func `The ready-made bounds are told apart, in rising order`(_ histogram: Histogram) {
        let bounds = lines { $0.histogram("h", "x", [([], [histogram])]) }
            .compactMap { $0.split(separator: "\"").dropFirst().first }
            .compactMap { Double($0 == "+Inf" ? "inf" : String($0)) }
        #expect(bounds.count == histogram.bounds.count + 1)
        #expect(zip(bounds, bounds.dropFirst()).allSatisfy { $0 < $1 })
    }
}
