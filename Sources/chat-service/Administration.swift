// The commands that look and administer: check-config, token, apikey.

import ArgumentParser
import Bytes
import CLinux
import ChatModel
import Identity
import ShardRuntime
import Stores

struct CheckConfig: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check-config",
        abstract:
            "Validates the environment and prints the effective configuration, secrets redacted.")

    func run() throws {
        let settings = try loadConfiguration()
        do throws(StartupFailure) {
            _ = try settings.loadCredentials()
            _ = try settings.loadPublicKeys()
        } catch {
            throw fail(error)
        }
        for (name, value) in settings.effective { say("\(name)=\(value)") }
    }
}

struct TokenCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token", abstract: "Access tokens.", subcommands: [Issue.self])

    struct Issue: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Prints a token, signed with this environment's key.")

        @Option(help: "The tenant's name.") var tenant: String
        @Option(
            name: [.long, .customLong("sub"), .customLong("subject")],
            help: "The user it stands for.")
        var user: String
        @Option(name: [.long, .customLong("roles")], help: "A role; may be given several times.")
        var role: [String] = ["end_user"]
        @Option(help: "Seconds until it expires.") var ttl: UInt64 = 86_400
        @Flag(help: "Print JSON.") var json = false

        func run() throws {
            let roles = try parseRoles(role)
            let settings = try loadConfiguration()
            guard !user.isEmpty, user.utf8.count <= Limits.userIDBytesMax else {
                throw ValidationError("--user must have 1 to \(Limits.userIDBytesMax) bytes.")
            }
            try withDataDirectory(settings) { data throws(StartupFailure) in
                let (directory, _) = try data.loadTenants(settings)
                guard directory.find(named: tenant) != nil else { throw unknownTenant(tenant) }
                let now = cl_realtime_milliseconds() / 1000
                let token = TokenIssuer(settings: try data.tokenSettings(settings)).issue(
                    tenant: tenant, subject: user, roles: roles, issuedAtSeconds: now,
                    expiresAtSeconds: now + ttl)
                say(json ? "{\"token\":\(quoted(token)),\"expires_in\":\(ttl)}" : token)
            }
        }
    }
}

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
        @Flag(help: "Print JSON.") var json = false

        func run() throws {
            let roles = try parseRoles(role)
            let settings = try loadConfiguration()
            try withDataDirectory(settings) { data throws(StartupFailure) in
                let (directory, _) = try data.loadTenants(settings)
                guard directory.find(named: tenant) != nil else { throw unknownTenant(tenant) }
                let made = APIKey.make(
                    tenant: tenant, name: name, roles: roles,
                    nowMilliseconds: cl_realtime_milliseconds())
                try withDirectoryStore(data) { store throws(SQLiteError) in
                    try store.add(made.record)
                }
                let id = hexadecimal(made.record.id)
                say(
                    json
                        ? "{\"id\":\(quoted(id)),\"secret\":\(quoted(made.text))}"
                        : "id \(id)\n\(made.text)")
            }
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lists the keys, without their secrets.")

        @Flag(help: "Print JSON.") var json = false

        func run() throws {
            let settings = try loadConfiguration()
            try withDataDirectory(settings) { data throws(StartupFailure) in
                var keys: [APIKeyRecord] = []
                try withDirectoryStore(data) { store throws(SQLiteError) in
                    keys = try store.apiKeys()
                }
                for key in keys { say(json ? jsonLine(of: key) : line(of: key)) }
            }
        }

        private func facts(of key: APIKeyRecord) -> [(name: String, value: String)] {
            [
                ("id", hexadecimal(key.id)), ("tenant", key.tenant), ("name", key.name),
                ("roles", key.roles.map(\.rawValue).joined(separator: ",")),
                ("state", key.isRevoked ? "revoked" : "active"),
            ]
        }

        private func line(of key: APIKeyRecord) -> String {
            facts(of: key).map(\.value).joined(separator: "  ")
        }

        private func jsonLine(of key: APIKeyRecord) -> String {
            let fields = facts(of: key).map { "\"\($0.name)\":\(quoted($0.value))" }
            return "{" + fields.joined(separator: ",") + "}"
        }
    }

    struct Revoke: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Revokes a key; a running service notices within five seconds.")

        @Argument(help: "The key's id, as shown by create and list.") var id: String

        func run() throws {
            guard let number = UInt64(id, radix: 16) else {
                throw ValidationError("An id has 16 hexadecimal digits.")
            }
            let settings = try loadConfiguration()
            try withDataDirectory(settings) { data throws(StartupFailure) in
                var isKnown = false
                try withDirectoryStore(data) { store throws(SQLiteError) in
                    isKnown = try store.revokeAPIKey(id: number)
                }
                guard isKnown else { throw StartupFailure(64, "There is no key \(id).") }
                say("revoked \(id)")
            }
        }
    }
}

// MARK: What the commands share

func parseRoles(_ names: [String]) throws -> [Role] {
    try names.flatMap { $0.split(separator: ",") }.map { name in
        guard let role = Role(rawValue: String(name)) else {
            let known = Role.allCases.map(\.rawValue).joined(separator: ", ")
            throw ValidationError("There is no role \(name); use \(known).")
        }
        return role
    }
}

func unknownTenant(_ name: String) -> StartupFailure {
    StartupFailure(64, "There is no tenant \(name).")
}

func hexadecimal(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
}

func withDataDirectory(
    _ settings: Configuration, _ body: (DataDirectory) throws(StartupFailure) -> Void
) throws {
    do throws(StartupFailure) {
        try body(try DataDirectory(path: settings.dataDirectory))
    } catch {
        throw fail(error)
    }
}

func withDirectoryStore(
    _ data: DataDirectory, _ body: (DirectoryStore) throws(SQLiteError) -> Void
) throws(StartupFailure) {
    do throws(SQLiteError) {
        try body(try DirectoryStore(path: data.directory))
    } catch {
        throw StartupFailure(
            StartupFailure.unavailable,
            "The tenant directory cannot be opened: \(error.description)")
    }
}

/// As a JSON string.
private func quoted(_ text: String) -> String {
    let writer = ByteWriter(capacity: 64)
    writer.append(json: text)
    return writer.string()
}
