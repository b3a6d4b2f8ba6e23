// `chat-service tenant`: which web pages may embed a tenant's chat.

import ArgumentParser
import ShardRuntime
import Stores

struct TenantCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tenant", abstract: "Tenants.", subcommands: [List.self, Set.self])

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lists the tenants and the origins that may embed their chat.")

        func run() throws {
            let settings = try loadConfiguration()
            try withDataDirectory(settings) { data throws(StartupFailure) in
                var tenants: [TenantRecord] = []
                try withDirectoryStore(data) { store throws(SQLiteError) in
                    tenants = try store.tenants()
                }
                for tenant in tenants {
                    let guests = tenant.allowsGuests ? "guests" : "no guests"
                    let origins = tenant.allowedOrigins.joined(separator: " ")
                    say("\(tenant.name)  \(guests)  \(origins.isEmpty ? "no origins" : origins)")
                }
            }
        }
    }

    struct Set: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: """
                Sets the origins whose pages may call, or when conversations are closed; a running \
                service needs a restart.
                """)

        @Argument(help: "The tenant's name.") var name: String
        @Option(
            help: """
                An origin such as https://shop.example, or '*' for all; may be given several \
                times. Without any, only the service's own page may call.
                """)
        var origin: [String] = []
        @Option(
            name: .customLong("auto-close"),
            help: """
                Seconds without an entry after which an open or pending conversation is closed; 0 \
                for never. Given alone, it leaves the origins as they are.
                """)
        var autoCloseSeconds: UInt64?

        /// Ten years.
        private static let autoCloseSecondsMax: UInt64 = 315_360_000

        func run() throws {
            if let seconds = autoCloseSeconds, seconds > Self.autoCloseSecondsMax {
                throw ValidationError("--auto-close takes at most \(Self.autoCloseSecondsMax).")
            }
            for text in origin where !isOrigin(text) {
                throw ValidationError(
                    "'\(text)' is no origin: a scheme and a host, maybe a port, and nothing behind."
                )
            }
            let settings = try loadConfiguration()
            try withDataDirectory(settings) { data throws(StartupFailure) in
                _ = try data.loadTenants(settings)
                var isKnown = false
                try withDirectoryStore(data) { store throws(SQLiteError) in
                    if let seconds = autoCloseSeconds {
                        isKnown = try store.setAutoClose(seconds: seconds, tenant: name)
                    }
                    if autoCloseSeconds == nil || !origin.isEmpty {
                        isKnown = try store.setOrigins(origin, tenant: name)
                    }
                }
                guard isKnown else { throw unknownTenant(name) }
                if let seconds = autoCloseSeconds {
                    say("\(name)  \(seconds == 0 ? "no auto-close" : "auto-close \(seconds) s")")
                    if origin.isEmpty { return }
                }
                say("\(name)  \(origin.isEmpty ? "no origins" : origin.joined(separator: " "))")
            }
        }

        /// As browsers write it (RFC 6454 section 6.2): lower case, no path, not even a slash.
        private func isOrigin(_ text: String) -> Bool {
            if text == "*" { return true }
            for scheme in ["https://", "http://"] where text.hasPrefix(scheme) {
                let authority = text.dropFirst(scheme.count)
                return !authority.isEmpty
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
}
