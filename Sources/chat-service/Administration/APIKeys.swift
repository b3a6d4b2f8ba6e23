// `chat-service apikey`: keys for other services. The secret is shown once, when it is made; what
// is stored is its digest.

import ArgumentParser
import CLinux
import ChatModel
import Identity
import ShardRuntime
import Stores

struct APIKeyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "apikey", abstract: "API keys.",
        subcommands: [Create.self, List.self, Revoke.self])

    struct Create: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Makes a key and shows it, this once, on the last line.")

        @Option(help: "The tenant's name.") var tenant: String
        @Option(help: "What it is for.") var name: String = "default"
        @Option(name: [.long, .customLong("roles")], help: "A role; may be given several times.")
        var role: [String] = ["service"]
        @Option(help: "Seconds until it expires; without it, it does not.") var ttl: UInt64?
        @Flag(help: "Print JSON.") var json = false

        func run() throws {
            let roles = try parseRoles(role)
            let expiry = try ttl.map { try parseLifetime($0).endSeconds }
            guard !name.isEmpty, name.utf8.count <= 100, name.unicodeScalars.allSatisfy(isShown)
            else {
                throw ValidationError("--name must have 1 to 100 bytes and no control characters.")
            }
            let settings = try loadConfiguration()
            try withDataDirectory(settings, .made) { data throws(StartupFailure) in
                let (directory, _) = try data.loadTenants(settings)
                guard directory.find(named: tenant) != nil else {
                    throw unknownTenant(tenant, among: directory.tenants.map(\.nameText))
                }
                let made = APIKey.make(
                    tenant: tenant, name: name, roles: roles,
                    nowMilliseconds: cl_realtime_milliseconds(), expiresAtSeconds: expiry ?? .max)
                try withDirectoryStore(data) { store throws(SQLiteError) in
                    try store.add(made.record)
                }
                if json {
                    say(JSONLine(facts(of: made.record) + [("secret", .text(made.text))]).text)
                } else {
                    say("id \(hexadecimal(made.record.id))\n\(made.text)")
                }
            }
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lists the keys, without their secrets.")

        @Option(help: "Only this tenant's.") var tenant: String?
        @Flag(help: "Print JSON, one object a line.") var json = false

        func run() throws {
            let settings = try loadConfiguration()
            try withDataDirectory(settings, .found) { data throws(StartupFailure) in
                var keys: [APIKeyRecord] = []
                var tenants: [String] = []
                try withDirectoryStore(data) { store throws(SQLiteError) in
                    keys = try store.apiKeys()
                    tenants = try store.tenants().map(\.name)
                }
                if let tenant {
                    guard tenants.contains(tenant) else {
                        throw unknownTenant(tenant, among: tenants)
                    }
                    keys.removeAll { $0.tenant != tenant }
                }
                show(keys.map(facts), json: json)
            }
        }
    }

    struct Revoke: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Revokes a key; a running service notices within five seconds.")

        @Argument(help: "The key's id, as shown by create and list.") var id: String
        @Flag(help: "Print JSON.") var json = false

        func run() throws {
            guard id.count == 16, let number = UInt64(id, radix: 16) else {
                throw ValidationError(
                    "An id has 16 hexadecimal digits; 'chat-service apikey list' shows them.")
            }
            let settings = try loadConfiguration()
            try withDataDirectory(settings, .found) { data throws(StartupFailure) in
                var isKnown = false
                try withDirectoryStore(data) { store throws(SQLiteError) in
                    isKnown = try store.revokeAPIKey(id: number)
                }
                guard isKnown else {
                    throw StartupFailure(
                        StartupFailure.usage,
                        "There is no key \(id) in \(data.path); 'chat-service apikey list' shows them."
                    )
                }
                say(
                    json
                        ? JSONLine([("id", .text(id)), ("state", .text("revoked"))]).text
                        : "revoked \(id)")
            }
        }
    }
}

private func facts(of key: APIKeyRecord) -> [JSONLine.Field] {
    let isOver = key.expiresAtSeconds <= cl_realtime_milliseconds() / 1000
    return [
        ("id", .text(hexadecimal(key.id))), ("tenant", .text(key.tenant)),
        ("name", .text(key.name)), ("roles", .list(key.roles.map(\.rawValue))),
        ("state", .text(key.isRevoked ? "revoked" : isOver ? "expired" : "active")),
        ("created_at", .time(milliseconds: key.createdAtMilliseconds)),
        (
            "expires_at",
            key.expiresAtSeconds == .max
                ? .none : .time(milliseconds: key.expiresAtSeconds * 1000)
        ),
    ]
}

func parseRoles(_ names: [String]) throws -> [Role] {
    try names.flatMap { $0.split(separator: ",") }.map { name in
        guard let role = Role(rawValue: String(name)) else {
            let known = Role.allCases.map(\.rawValue).joined(separator: ", ")
            throw ValidationError("There is no role \(name); use \(known).")
        }
        return role
    }
}

private func hexadecimal(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
}
