// `chat-service tenant`: who uses the service, under which limits, and from which pages. A running
// service sees a change within CONFIG_CACHE_TTL (five seconds at the most), or at SIGHUP.

import ArgumentParser
import ChatModel
import ShardRuntime
import Stores

struct TenantCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tenant", abstract: "Tenants.",
        subcommands: [Create.self, List.self, Show.self, Set.self])

    struct Create: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Makes a tenant.")

        @Argument(help: "Its name: 1 to 64 of a-z, 0-9, '-', '_' and '.', not '-' or '.' first.")
        var name: String
        @OptionGroup var options: TenantSettings
        @Flag(help: "Print JSON.") var json = false

        func run() throws {
            guard isTenantName(name) else {
                throw ValidationError(
                    """
                    '\(shown(name))' is no name of a tenant: 1 to 64 of a-z, 0-9, '-', '_' and \
                    '.', and neither '-' nor '.' at its beginning.
                    """)
            }
            var record = TenantRecord(name: name, allowsGuests: false)
            try options.apply(to: &record)
            let settings = try loadConfiguration()
            try withDataDirectory(settings, .made) { data throws(StartupFailure) in
                let (directory, _) = try data.loadTenants(settings)
                guard directory.tenants.count < Limits.tenantsMax else {
                    throw StartupFailure(
                        StartupFailure.usage,
                        "There are \(Limits.tenantsMax) tenants already, and no more fit.")
                }
                var isNew = false
                try withDirectoryStore(data) { store throws(SQLiteError) in
                    isNew = try store.add(record)
                }
                guard isNew else {
                    throw StartupFailure(
                        StartupFailure.usage,
                        "There is a tenant \(name) already; 'chat-service tenant set' changes it.")
                }
                show([facts(of: record)], json: json)
            }
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lists the tenants and the origins that may embed their chat.")

        @Flag(help: "Print JSON, one object a line.") var json = false

        func run() throws {
            try withTenants(try loadConfiguration()) { tenants throws(StartupFailure) in
                show(tenants.map(facts), json: json)
            }
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows one tenant: what is set, and in brackets what holds without it.")

        @Argument(help: "The tenant's name.") var name: String
        @Flag(help: "Print JSON.") var json = false

        func run() throws {
            let settings = try loadConfiguration()
            try withTenants(settings) { tenants throws(StartupFailure) in
                guard let tenant = tenants.first(where: { $0.name == name }) else {
                    throw unknownTenant(name, among: tenants.map(\.name))
                }
                if json { return show([facts(of: tenant)], json: true) }
                let defaults = [
                    "rate": settings.defaultRateLimit, "burst": settings.burstLimit,
                    "user_rate": max(1, settings.defaultRateLimit / 10),
                    "user_burst": max(1, settings.burstLimit / 10),
                ]
                for (name, value) in facts(of: tenant) {
                    let text = value.text.isEmpty ? defaults[name].map { "(\($0))" } : value.text
                    say("\(name): \(text ?? "none")")
                }
            }
        }
    }

    struct Set: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Changes what is given; a running service notices within five seconds.")

        @Argument(help: "The tenant's name.") var name: String
        @OptionGroup var options: TenantSettings
        @Flag(help: "Print JSON.") var json = false

        func run() throws {
            guard !options.isEmpty else {
                throw ValidationError("Nothing to set; 'chat-service tenant set --help' says what.")
            }
            var scratch = TenantRecord(name: name, allowsGuests: false)
            try options.apply(to: &scratch)
            let settings = try loadConfiguration()
            try withTenants(settings) { tenants throws(StartupFailure) in
                guard var record = tenants.first(where: { $0.name == name }) else {
                    throw unknownTenant(name, among: tenants.map(\.name))
                }
                // What was given is sound: it could be applied above.
                try? options.apply(to: &record)
                let data = try DataDirectory(path: settings.dataDirectory)
                try withDirectoryStore(data) { store throws(SQLiteError) in
                    _ = try store.update(record)
                }
                show([facts(of: record)], json: json)
            }
        }
    }
}

/// What can be said of a tenant besides its name.
struct TenantSettings: ParsableArguments {
    @Flag(inversion: .prefixedNo, help: "Whether guests may chat without an account.")
    var guests: Bool?
    @Option(help: "Requests a minute, or 'default'.") var rate: String?
    @Option(help: "Requests at once, or 'default'.") var burst: String?
    @Option(help: "Requests a minute of one user, or 'default'.") var userRate: String?
    @Option(help: "Requests at once of one user, or 'default'.") var userBurst: String?
    @Option(help: "What a message does while a run goes on: queue, burst or restart.")
    var runPolicy: String?
    @Option(
        help: """
            An origin such as https://shop.example, or '*' for all, whose pages may call; may be \
            given several times, and replaces those from before.
            """)
    var origin: [String] = []
    @Flag(help: "Only the service's own page may call.") var noOrigins = false
    @Option(
        name: .customLong("auto-close"),
        help: """
            Seconds without an entry after which an open or pending conversation is closed; 0 for \
            never.
            """)
    var autoCloseSeconds: UInt64?

    /// Ten years.
    private static let autoCloseSecondsMax: UInt64 = 315_360_000

    var isEmpty: Bool {
        guests == nil && runPolicy == nil && origin.isEmpty && !noOrigins && autoCloseSeconds == nil
            && [rate, burst, userRate, userBurst].allSatisfy { $0 == nil }
    }

    /// Throws ValidationError for what cannot be.
    func apply(to record: inout TenantRecord) throws {
        if let guests { record.allowsGuests = guests }
        record.ratePerMinute = try limit("--rate", rate, record.ratePerMinute)
        record.burst = try limit("--burst", burst, record.burst)
        record.userRatePerMinute = try limit("--user-rate", userRate, record.userRatePerMinute)
        record.userBurst = try limit("--user-burst", userBurst, record.userBurst)
        if let runPolicy {
            guard let policy = RunPolicy(name: runPolicy) else {
                throw ValidationError(
                    "There is no run policy \(runPolicy); use queue, burst, restart.")
            }
            record.runPolicy = policy
        }
        if let seconds = autoCloseSeconds {
            guard seconds <= Self.autoCloseSecondsMax else {
                throw ValidationError("--auto-close takes at most \(Self.autoCloseSecondsMax).")
            }
            record.autoCloseSeconds = seconds
        }
        if noOrigins, !origin.isEmpty {
            throw ValidationError("--origin and --no-origins exclude each other.")
        }
        for text in origin where !isOrigin(text) {
            throw ValidationError(
                "'\(shown(text))' is no origin: a scheme and a host, maybe a port, and nothing behind."
            )
        }
        if noOrigins { record.allowedOrigins = [] }
        if !origin.isEmpty { record.allowedOrigins = origin }
    }

    private func limit(_ name: String, _ text: String?, _ before: Int?) throws -> Int? {
        guard let text else { return before }
        if text == "default" { return nil }
        guard let number = Int(text), 1...1_000_000_000 ~= number else {
            throw ValidationError("\(name) must be 1 to 1000000000, or 'default'.")
        }
        return number
    }

    /// As browsers write it (RFC 6454 section 6.2): lower case, no path, not even a slash.
    private func isOrigin(_ text: String) -> Bool {
        if text == "*" { return true }
        for scheme in ["https://", "http://"] where text.hasPrefix(scheme) {
            let authority = text.dropFirst(scheme.count)
            return !authority.isEmpty && authority.utf8.count <= 255
                && authority.utf8.allSatisfy {
                    switch $0 {
                    case 0x61...0x7A, 0x30...0x39, 0x2D, 0x2E, 0x3A, 0x5B, 0x5D: true
                    default: false
                    }
                }
        }
        return false
    }
}

private func facts(of tenant: TenantRecord) -> [JSONLine.Field] {
    func limit(_ value: Int?) -> JSONLine.Value { value.map { .number(UInt64($0)) } ?? .none }
    return [
        ("name", .text(tenant.name)), ("guests", .flag(tenant.allowsGuests)),
        ("rate", limit(tenant.ratePerMinute)), ("burst", limit(tenant.burst)),
        ("user_rate", limit(tenant.userRatePerMinute)), ("user_burst", limit(tenant.userBurst)),
        ("run_policy", .text(tenant.runPolicy.name)), ("origins", .list(tenant.allowedOrigins)),
        ("auto_close_seconds", .number(tenant.autoCloseSeconds)),
    ]
}

/// A tenant's name stands in tokens, metrics and log lines.
private func isTenantName(_ name: String) -> Bool {
    guard 1...64 ~= name.utf8.count, name.first != "-", name.first != "." else { return false }
    return name.utf8.allSatisfy {
        switch $0 {
        case 0x61...0x7A, 0x30...0x39, 0x2D, 0x2E, 0x5F: true
        default: false
        }
    }
}

private func withTenants(
    _ settings: Configuration, _ body: ([TenantRecord]) throws(StartupFailure) -> Void
) throws {
    try withDataDirectory(settings, .found) { data throws(StartupFailure) in
        var tenants: [TenantRecord] = []
        try withDirectoryStore(data) { store throws(SQLiteError) in
            tenants = try store.tenants()
        }
        try body(tenants)
    }
}
