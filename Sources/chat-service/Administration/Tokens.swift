// `chat-service token`: access tokens, signed with this environment's key.

import ArgumentParser
import CLinux
import ChatModel
import Identity
import ShardRuntime

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
            let lifetime = try parseLifetime(ttl)
            let settings = try loadConfiguration()
            guard !user.isEmpty, user.utf8.count <= Limits.userIDBytesMax else {
                throw ValidationError("--user must have 1 to \(Limits.userIDBytesMax) bytes.")
            }
            try withDataDirectory(settings, .made) { data throws(StartupFailure) in
                let (directory, _) = try data.loadTenants(settings)
                guard directory.find(named: tenant) != nil else {
                    throw unknownTenant(tenant, among: directory.tenants.map(\.nameText))
                }
                let token = TokenIssuer(settings: try data.tokenSettings(settings)).issue(
                    tenant: tenant, subject: user, roles: roles,
                    issuedAtSeconds: lifetime.nowSeconds, expiresAtSeconds: lifetime.endSeconds)
                say(
                    json
                        ? JSONLine([("token", .text(token)), ("expires_in", .number(ttl))]).text
                        : token)
            }
        }
    }
}

/// A bounded number of seconds from now; 100 years are enough for anything.
func parseLifetime(_ seconds: UInt64) throws -> (nowSeconds: UInt64, endSeconds: UInt64) {
    guard seconds >= 1, seconds <= 3_153_600_000 else {
        throw ValidationError("--ttl must be 1 to 3153600000 seconds.")
    }
    let now = cl_realtime_milliseconds() / 1000
    return (now, now + seconds)
}
