import Logging
import Testing

@testable import Observability

@Suite struct JSONLogTests {
    @Test(arguments: Logger.Level.allCases)
    func `A threshold that moves, moves for every copy of the logger`(_ level: Logger.Level) {
        let threshold = LogThreshold(.critical)
        let logger = JSONLog.logger(label: "test", threshold)
        var copy = logger
        copy[metadataKey: "of"] = "the copy"
        threshold.level = level
        #expect(logger.logLevel == level && copy.logLevel == level)
    }
}
