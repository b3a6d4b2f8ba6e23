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
            abstract: "Sets the origins whose pages may call; a running service needs a restart.")

        @Argument(help: "The tenant's name.") var name: String
        @Option(
            help: """
                An origin such as https://shop.example, or '*' for all; may be given several \
                times. Without any, only the service's own page may call.
                """)
        var origin: [String] = []

        func run() throws {
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
                    isKnown = try store.setOrigins(origin, tenant: name)
                }
                guard isKnown else { throw unknownTenant(name) }
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
