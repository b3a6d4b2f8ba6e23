import Reactor
import Testing

@testable import ShardRuntime

private func read(_ values: [String: String]) -> Configuration? {
    try? Configuration(environment: values)
}

/// The faults, one line each; none when it was accepted.
private func faults(_ values: [String: String]) -> [String] {
    do throws(Configuration.Faults) {
        _ = try Configuration(environment: values)
        return []
    } catch {
        return error.lines
    }
}

private func effective(_ values: [String: String] = [:]) -> [String: String] {
    Dictionary(
        uniqueKeysWithValues: read(values)?.effective.map { ($0.0, $0.1) } ?? [])
}

private func text(_ count: Int, _ letter: String = "x") -> String {
    String(repeating: letter, count: count)
}

private struct Number: Sendable, CustomTestStringConvertible {
    let name: String
    let least: Int
    let most: Int
    var isUsed = true

    var testDescription: String { name }
}

private let numbers: [Number] = [
    Number(name: "PORT", least: 0, most: 65_535),
    Number(name: "REQUEST_TIMEOUT_MS", least: 100, most: 600_000),
    Number(name: "SESSION_TTL", least: 1, most: 31_536_000),
    Number(name: "CONFIG_CACHE_TTL", least: 0, most: 86_400),
    Number(name: "RESPONSE_CACHE_TTL", least: 0, most: 86_400, isUsed: false),
    Number(name: "MAX_CONNECTIONS_MONGO", least: 1, most: 10_000, isUsed: false),
    Number(name: "MAX_CONNECTIONS_REDIS", least: 1, most: 10_000, isUsed: false),
    Number(name: "MAX_MEDIA_BYTES", least: 1, most: 1 << 30, isUsed: false),
    Number(name: "DEFAULT_RATE_LIMIT", least: 1, most: 1_000_000_000),
    Number(name: "BURST_LIMIT", least: 1, most: 1_000_000_000),
    Number(name: "REACTOR_THREADS", least: 1, most: 64),
    Number(name: "MAX_MESSAGE_BYTES", least: 256, most: 1 << 24),
    Number(name: "MAX_CONNECTIONS", least: 16, most: 16_777_216),
    Number(name: "MAX_CONNECTIONS_PER_ADDRESS", least: 1, most: 16_777_216),
    Number(name: "MAX_BUFFERED_BYTES", least: 1 << 20, most: 1 << 40),
    Number(name: "HEAD_TIMEOUT_MS", least: 100, most: 600_000),
    Number(name: "BODY_TIMEOUT_MS", least: 100, most: 3_600_000),
    Number(name: "KEEP_ALIVE_TIMEOUT_MS", least: 100, most: 3_600_000),
    Number(name: "BAD_CREDENTIALS_PER_MINUTE", least: 0, most: 1_000_000_000),
    Number(name: "DRAIN_DELAY_MS", least: 0, most: 600_000),
    Number(name: "DRAIN_TIMEOUT_MS", least: 100, most: 600_000),
]

private let unavailable = [
    "MONGODB_URI", "REDIS_URL", "POSTGRESQL_URI", "KAFKA_BROKERS", "MCP_ENGINE_URL",
    "SECURITY_HUB_URL", "JWT_JWKS_URL", "OTEL_EXPORTER_OTLP_ENDPOINT",
    "SPILL_DIR",
]

/// Every variable that is read, with a value that is accepted.
private let accepted: [String: String] = [
    "ENVIRONMENT": "staging", "HOST": "127.0.0.1", "PORT": "9000", "REQUEST_TIMEOUT_MS": "1000",
    "SESSION_TTL": "60", "CONFIG_CACHE_TTL": "5", "RESPONSE_CACHE_TTL": "7",
    "MAX_CONNECTIONS_MONGO": "8", "MAX_CONNECTIONS_REDIS": "9", "MAX_MEDIA_BYTES": "10",
    "DEFAULT_RATE_LIMIT": "11", "BURST_LIMIT": "12", "REACTOR_THREADS": "3",
    "REACTOR_BACKEND": "epoll", "DATA_DIR": "/srv/chat", "MAX_MESSAGE_BYTES": "4096",
    "JWT_SECRET": text(32, "s"), "JWT_PUBLIC_KEY_FILE": "/etc/chat/keys.pem",
    "JWT_ISSUER": "https://issuer", "JWT_AUDIENCE": "chat",
    "TLS_CERT_FILE": "/etc/chat/chain.pem", "TLS_KEY_FILE": "/etc/chat/key.pem",
    "TLS_CLIENT_CA_FILE": "/etc/chat/clients.pem",
    "ENV_FILE": "/etc/chat/settings",
    "LOG_LEVEL": "ERROR", "DRAIN_DELAY_MS": "13", "DRAIN_TIMEOUT_MS": "140", "OPS_PUBLIC": "true",
    "MAX_CONNECTIONS": "20", "MAX_CONNECTIONS_PER_ADDRESS": "21", "MAX_BUFFERED_BYTES": "2097152",
    "HEAD_TIMEOUT_MS": "122", "BODY_TIMEOUT_MS": "123", "KEEP_ALIVE_TIMEOUT_MS": "124",
    "BAD_CREDENTIALS_PER_MINUTE": "25",
    "BENCH_ROUTES": "1", "ENCRYPTION_KEYS": "k1:" + text(43, "A") + "=",
]

@Suite struct ConfigurationTests {
    @Test func `Without variables there are the defaults`() {
        let configuration = read([:])
        #expect(configuration?.environment == .development)
        #expect(configuration?.host == "0.0.0.0" && configuration?.port == 8001)
        #expect(configuration?.requestTimeoutMilliseconds == 30_000)
        #expect(configuration?.sessionTimeToLiveSeconds == 3600)
        #expect(configuration?.configCacheTimeToLiveSeconds == 300)
        #expect(configuration?.defaultRateLimit == 1000 && configuration?.burstLimit == 2000)
        #expect(configuration?.reactorThreads == 0 && configuration?.backend == .auto)
        #expect(configuration?.dataDirectory == "./data")
        #expect(configuration?.messageBytesMax == 65_536)
        #expect(configuration?.jwtSecret == nil && configuration?.jwtIssuer == nil)
        #expect(configuration?.jwtAudience == nil)
        #expect(configuration?.logLevel == .INFO)
        #expect(configuration?.drainDelayMilliseconds == 0)
        #expect(configuration?.drainTimeoutMilliseconds == 20_000)
        #expect(configuration?.opsArePublic == true && configuration?.benchRoutes == false)
    }

    @Test func `Every variable is read into its own place`() {
        let configuration = read(accepted)
        #expect(configuration?.environment == .staging)
        #expect(configuration?.host == "127.0.0.1" && configuration?.port == 9000)
        #expect(configuration?.requestTimeoutMilliseconds == 1000)
        #expect(configuration?.sessionTimeToLiveSeconds == 60)
        #expect(configuration?.configCacheTimeToLiveSeconds == 5)
        #expect(configuration?.defaultRateLimit == 11 && configuration?.burstLimit == 12)
        #expect(configuration?.reactorThreads == 3 && configuration?.backend == .epoll)
        #expect(configuration?.dataDirectory == "/srv/chat")
        #expect(configuration?.messageBytesMax == 4096)
        #expect(configuration?.jwtSecret == text(32, "s"))
        #expect(configuration?.jwtIssuer == "https://issuer")
        #expect(configuration?.jwtAudience == "chat" && configuration?.logLevel == .ERROR)
        #expect(
            configuration?.tls
                == TLSFiles(
                    certificate: "/etc/chat/chain.pem", key: "/etc/chat/key.pem",
                    clientAuthorities: "/etc/chat/clients.pem"))
        #expect(configuration?.environmentFile == "/etc/chat/settings")
        #expect(configuration?.drainDelayMilliseconds == 13)
        #expect(configuration?.drainTimeoutMilliseconds == 140)
        #expect(configuration?.opsArePublic == true && configuration?.benchRoutes == true)
    }

    @Test func `An empty value is an unset one, and what we do not know is not ours`() {
        var values: [String: String] = accepted.mapValues { _ in "" }
        for name in unavailable { values[name] = "" }
        values["PATH"] = "/bin"
        values["port"] = "x"
        values["PORT "] = "x"
        values[""] = "x"
        #expect(faults(values) == [])
        #expect(effective(values) == effective())
    }

    @Test(arguments: numbers)
    private func `A number is accepted at both of its edges`(_ number: Number) {
        for value in [number.least, number.most] {
            #expect(faults([number.name: "\(value)"]) == [])
            if number.isUsed {
                #expect(effective([number.name: "\(value)"])[number.name] == "\(value)")
            }
        }
    }

    @Test(arguments: numbers)
    private func `A number outside its range, or none, is refused by name and value`(
        _ number: Number
    ) {
        let refused = [
            "\(number.least - 1)", "\(number.most + 1)", "-9223372036854775808",
            "9223372036854775808", "18446744073709551616", "1.0", "1e3", "0x10", "1_000", "1,000",
            "1 000", " 1000", "1000 ", "1000\n", "1000ms", "ten", "-", "+", "--1", "NaN", "true",
            "١",
        ]
        for value in refused {
            #expect(
                faults([number.name: value]) == [
                    "\(number.name): \"\(value)\" is not accepted; "
                        + "use a whole number from \(number.least) to \(number.most)"
                ])
        }
    }

    @Test func `A choice is one of its words, as they are written`() {
        for word in ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] {
            #expect(read(["LOG_LEVEL": word])?.logLevel.rawValue == word)
        }
        for word in ["development", "staging"] {
            #expect(read(["ENVIRONMENT": word])?.environment.rawValue == word)
        }
        for word in ["info", "Info", "TRACE", "WARN", "INFO ", "1", "DEBUG,INFO"] {
            #expect(
                faults(["LOG_LEVEL": word]) == [
                    "LOG_LEVEL: \"\(word)\" is not accepted; "
                        + "use DEBUG, INFO, WARNING, ERROR, CRITICAL"
                ])
        }
        for word in ["Development", "dev", "prod", "test", " staging", "production "] {
            #expect(
                faults(["ENVIRONMENT": word]) == [
                    "ENVIRONMENT: \"\(word)\" is not accepted; use development, staging, production"
                ])
        }
    }

    @Test func `A flag is true, 1, false or 0, and nothing else`() {
        for name in ["OPS_PUBLIC", "BENCH_ROUTES"] {
            for (word, shown) in [
                ("true", "true"), ("1", "true"), ("false", "false"), ("0", "false"),
            ] {
                #expect(effective([name: word])[name] == shown)
            }
            for word in [
                "True", "TRUE", "yes", "no", "on", "off", "2", "-1", "t", " true", "true ",
            ] {
                #expect(
                    faults([name: word])
                        == ["\(name): \"\(word)\" is not accepted; use true or false"])
            }
        }
    }

    @Test func `Operations are public in development alone, unless it is said`() {
        #expect(read(["ENVIRONMENT": "development"])?.opsArePublic == true)
        #expect(read(["ENVIRONMENT": "staging"])?.opsArePublic == false)
        #expect(read(["ENVIRONMENT": "staging", "OPS_PUBLIC": "true"])?.opsArePublic == true)
        #expect(read(["OPS_PUBLIC": "false"])?.opsArePublic == false)
    }

    @Test func `A backend is one that this version has`() {
        #expect(read(["REACTOR_BACKEND": "auto"])?.backend == .auto)
        #expect(read(["REACTOR_BACKEND": "epoll"])?.backend == .epoll)
        for word in ["io_uring", "EPOLL", "kqueue", "epoll ", "0"] {
            #expect(
                faults(["REACTOR_BACKEND": word]) == [
                    "REACTOR_BACKEND: \"\(word)\" is not accepted; "
                        + "use auto or epoll; io_uring is not part of this version"
                ])
        }
    }

    @Test(arguments: unavailable)
    func `A setting that would be without effect is refused, its value not repeated`(_ name: String)
    {
        let found = faults([name: "mongodb://user:hunter2@host"])
        #expect(found.count == 1)
        #expect(found.first?.hasPrefix("\(name): not part of this version (") == true)
        #expect(found.first?.hasSuffix("); unset it") == true)
        #expect(found.first?.contains("hunter2") == false)
    }

    @Test func `All faults are told at once, and each once`() {
        var values: [String: String] = [:]
        for number in numbers { values[number.name] = "bad" }
        for name in ["LOG_LEVEL", "REACTOR_BACKEND", "OPS_PUBLIC", "BENCH_ROUTES"] {
            values[name] = "bad"
        }
        for name in unavailable { values[name] = "set" }
        values["ENVIRONMENT"] = "bad"
        values["JWT_SECRET"] = "short"
        values["ENCRYPTION_KEYS"] = "bad"
        let named = faults(values).map { String($0.prefix { $0 != ":" }) }
        #expect(Set(named) == Set(values.keys))
        #expect(named.count == values.count)
    }

    @Test func `One fault is enough to refuse all the rest`() {
        var values = accepted
        #expect(read(values) != nil)
        values["DRAIN_DELAY_MS"] = "-1"
        #expect(read(values) == nil && faults(values).count == 1)
    }
}

@Suite struct ConfigurationSecretTests {
    @Test func `A token secret has at least 32 bytes, and is counted in bytes`() {
        #expect(read(["JWT_SECRET": text(32)])?.jwtSecret == text(32))
        #expect(read(["JWT_SECRET": text(4096)])?.jwtSecret == text(4096))
        #expect(read(["JWT_SECRET": text(16, "é")])?.jwtSecret == text(16, "é"))
        for secret in ["hunter2", text(31), text(15, "é"), " "] {
            #expect(
                faults(["JWT_SECRET": secret]) == ["JWT_SECRET: too short; use at least 32 bytes"])
        }
    }

    @Test(arguments: [
        "k1:" + text(43, "A") + "=", "k1:" + text(43, "/") + "=,k2:" + text(43, "+") + "=",
        "é:" + text(43, "z") + "=", " :" + text(43, "9") + "=",
    ])
    func `Encryption keys are an id and 32 bytes each`(_ keys: String) {
        #expect(faults(["ENCRYPTION_KEYS": keys]) == [])
    }

    @Test(arguments: [
        "x", ":", ",", "k1", "k1:", ":" + text(43, "A") + "=", text(43, "A") + "=", "k1:A=",
        "k1:" + text(43, "A"), "k1:" + text(44, "A"), "k1:" + text(42, "A") + "==",
        "k1:" + text(42, "A") + "=", "k1:" + text(44, "A") + "=", "k1:" + text(43, "A") + "= ",
        "k1: " + text(42, "A") + "=", "k1=" + text(43, "A") + "=", "k1:" + text(42, "A") + "-=",
        "k1:" + text(42, "A") + "_=", "k1:" + text(42, "A") + "\n=",
        "k1:" + text(20, "=") + text(24, "="),
        "k1:" + text(41, "A") + "é=", "k1:k2:" + text(43, "A") + "=",
        "k1:" + text(43, "A") + "=,", ",k1:" + text(43, "A") + "=",
        "k1:" + text(43, "A") + "=;k2:" + text(43, "A") + "=",
        "k1:" + text(43, "A") + "=,k2", "k1:" + text(43, "A") + "=,:" + text(43, "A") + "=",
        "k1:" + text(43, "A") + "=,,k2:" + text(43, "A") + "=",
    ])
    func `Anything else is refused once, and not repeated`(_ keys: String) {
        #expect(
            faults(["ENCRYPTION_KEYS": keys]) == [
                "ENCRYPTION_KEYS: not accepted; use id:base64(32 bytes), separated by commas"
            ])
    }

    @Test func `What is in effect lists each setting once, secrets redacted`() {
        let list = read(accepted)?.effective ?? []
        #expect(Set(list.map(\.0)).count == list.count)
        let shown = effective(accepted)
        for (name, value) in accepted where shown[name] != nil && name != "JWT_SECRET" {
            #expect(shown[name] == (name == "BENCH_ROUTES" ? "true" : value), "\(name)")
        }
        #expect(shown["JWT_SECRET"] == "<redacted>")
        for (_, value) in list {
            #expect(!value.contains(text(8, "s")) && !value.contains(text(8, "A")))
        }
    }

    @Test func `What is in effect says what stands for an unset value`() {
        let shown = effective()
        #expect(shown["REACTOR_THREADS"] == "one a processor")
        #expect(shown["JWT_SECRET"] == "generated in DATA_DIR")
        #expect(shown["JWT_ISSUER"] == "" && shown["JWT_AUDIENCE"] == "")
        #expect(shown["PORT"] == "8001" && shown["LOG_LEVEL"] == "INFO")
        let unused = numbers.filter { !$0.isUsed }.map(\.name)
        let hidden = Set(unused + ["ENCRYPTION_KEYS"])
        #expect(Set(shown.keys) == Set(accepted.keys).subtracting(hidden))
    }
}

@Suite struct ProductionConfigurationTests {
    private func missing(_ values: [String: String]) -> [String] {
        faults(values.merging(["ENVIRONMENT": "production"]) { $1 })
            .filter { $0.contains(": required in production") }
            .map { String($0.prefix { $0 != ":" }) }
    }

    @Test func `In production a token secret, stores and encryption keys are required`() {
        #expect(
            missing([:]) == ["JWT_SECRET", "MONGODB_URI", "REDIS_URL", "ENCRYPTION_KEYS"])
        let given = ["JWT_SECRET": text(32), "ENCRYPTION_KEYS": "k:" + text(43, "A") + "="]
        #expect(missing(given) == ["MONGODB_URI", "REDIS_URL"])
        #expect(missing(["JWT_SECRET": ""]).contains("JWT_SECRET"))
        #expect(!missing(["JWT_PUBLIC_KEY_FILE": "keys.pem"]).contains("JWT_SECRET"))
    }

    @Test func `A token secret that is too short is none`() {
        let found = faults(["ENVIRONMENT": "production", "JWT_SECRET": "short"])
        #expect(found.contains("JWT_SECRET: too short; use at least 32 bytes"))
        #expect(found.contains("JWT_SECRET: required in production, or JWT_PUBLIC_KEY_FILE"))
    }

    @Test func `Bench routes are refused in production only`() {
        let fault = "BENCH_ROUTES: true is refused in production"
        for (word, isFault) in [("true", true), ("1", true), ("false", false), ("0", false)] {
            let found = faults(["ENVIRONMENT": "production", "BENCH_ROUTES": word])
            #expect(found.contains(fault) == isFault)
        }
        #expect(!faults(["ENVIRONMENT": "production"]).contains(fault))
        #expect(faults(["ENVIRONMENT": "staging", "BENCH_ROUTES": "true"]) == [])
    }

    @Test func `Outside production nothing is required`() {
        #expect(faults(["ENVIRONMENT": "staging"]) == [])
        #expect(faults(["ENVIRONMENT": "development"]) == [])
    }

    // A configuration for stores that this version does not have must not start on others.
    @Test func `Production is not started while the stores it requires are not part of it`() {
        var values = accepted
        values["ENVIRONMENT"] = "production"
        values["BENCH_ROUTES"] = "false"
        values["MONGODB_URI"] = "mongodb://db"
        values["REDIS_URL"] = "redis://cache"
        let found = faults(values)
        #expect(found.map { String($0.prefix { $0 != ":" }) } == ["MONGODB_URI", "REDIS_URL"])
        #expect(found.allSatisfy { $0.contains("not part of this version") })
    }
}
