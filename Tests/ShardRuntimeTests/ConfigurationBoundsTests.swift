import ChatModel
import Testing

@testable import ShardRuntime

private func configuration(_ values: [String: String] = [:]) -> Configuration {
    (try? Configuration(environment: values))
        ?? {
            preconditionFailure("these values are accepted")
        }()
}

private func connectionsMax(
    _ wanted: String?, descriptors: Int, cores: Int = 2
) -> (count: Int?, message: String?) {
    let configuration = configuration(wanted.map { ["MAX_CONNECTIONS": $0] } ?? [:])
    do throws(StartupFailure) {
        return (try configuration.connectionsMax(descriptors: descriptors, cores: cores), nil)
    } catch {
        #expect(error.exitCode == 78)
        return (nil, error.message)
    }
}

@Suite struct ConfigurationBoundsTests {
    @Test func `Without variables there are the documented defaults`() {
        let bounds = configuration().bounds
        #expect(bounds == ConnectionBounds())
        #expect(bounds.connectionsMax == nil && bounds.connectionsPerAddressMax == nil)
        #expect(bounds.headTimeoutMilliseconds == 10_000)
        #expect(bounds.bodyTimeoutMilliseconds == 30_000)
        #expect(bounds.keepAliveTimeoutMilliseconds == 75_000)
        #expect(bounds.badCredentialsPerMinute == 60)
        #expect(bounds.bufferedBytesPerShard(of: 3) == 128 << 20)
    }

    @Test func `Every variable is read into its own place`() {
        let bounds =
            configuration([
                "MAX_CONNECTIONS": "1000", "MAX_CONNECTIONS_PER_ADDRESS": "20",
                "MAX_BUFFERED_BYTES": "3145728", "HEAD_TIMEOUT_MS": "200",
                "BODY_TIMEOUT_MS": "3000", "KEEP_ALIVE_TIMEOUT_MS": "400",
                "BAD_CREDENTIALS_PER_MINUTE": "0",
            ]).bounds
        #expect(bounds.connectionsMax == 1000 && bounds.connectionsPerAddressMax == 20)
        #expect(bounds.bufferedBytesPerShard(of: 3) == 1 << 20)
        #expect(bounds.headTimeoutMilliseconds == 200)
        #expect(bounds.bodyTimeoutMilliseconds == 3000)
        #expect(bounds.keepAliveTimeoutMilliseconds == 400)
        #expect(bounds.badCredentialsPerMinute == 0)
        #expect(bounds.paceWindowMilliseconds == 1000 && bounds.paceBytesPerWindow == 256)
    }

    @Test func `Connections leave descriptors to the stores and the loops`() {
        #expect(connectionsMax(nil, descriptors: 1024).count == 1024 - 192 - 128)
        #expect(connectionsMax(nil, descriptors: 100).count == 50)
        #expect(connectionsMax(nil, descriptors: 1).count == 1)
        #expect(
            connectionsMax(nil, descriptors: 1 << 30).count == 2 * Limits.connectionsPerShardMax)
    }

    @Test func `A wish is taken, unless the process cannot have so many`() {
        #expect(connectionsMax("500", descriptors: 1024).count == 500)
        #expect(connectionsMax("704", descriptors: 1024).count == 704)
        let (count, message) = connectionsMax("705", descriptors: 1024)
        #expect(count == nil)
        for part in ["MAX_CONNECTIONS", "705", "704", "1024", "ulimit"] {
            #expect(message?.contains(part) ?? false, "\(part) in: \(message ?? "")")
        }
    }

    @Test func `Each reason to shed has a name of its own`() {
        let names = ShedReason.allCases.map(\.name)
        #expect(Set(names).count == names.count)
        #expect(ShedReason.allCases.map(\.rawValue) == Array(0..<names.count))
    }
}
