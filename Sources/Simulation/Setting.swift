// Who there is: two tenants whose users have the same names, an agent in each, and the tokens.

import Bytes
import ChatModel
import Identity
import Logging
import ShardRuntime

struct Person {
    let name: String
    let tenant: TenantIndex
    let key: UserKey
    let token: String
    /// May see all conversations of the tenant.
    let isAgent: Bool
}

struct Setting {
    /// Of the first tenant; the other closes nothing.
    static let autoCloseSeconds: UInt64 = 4

    let configuration: Configuration
    let directory: TenantDirectory
    let tokenSettings: TokenSettings
    let logger: Logger
    let people: [Person]
    let agents: [Person]

    init(_ around: Surroundings) {
        guard var configuration = try? Configuration(environment: [:]) else {
            preconditionFailure("the standard configuration is valid")
        }
        configuration.requestTimeoutMilliseconds = 5_000
        configuration.sessionTimeToLiveSeconds = 20
        configuration.messageBytesMax = 16_384
        self.configuration = configuration
        let policy = around.chance.pick([RunPolicy.queue, .burst, .restart])
        let tenants = ["acme", "globex"].enumerated().map { index, name in
            Tenant(
                index: TenantIndex(UInt16(index)), name: name, allowsGuests: true,
                ratePerMinute: 100_000_000, burst: 1_000_000, userRatePerMinute: 100_000_000,
                userBurst: 1_000_000, runPolicy: policy, allowedOrigins: [],
                autoCloseSeconds: index == 0 ? Setting.autoCloseSeconds : 0)
        }
        directory = TenantDirectory(tenants)
        tokenSettings = TokenSettings(
            secret: Array("a secret that is only simulated, of 48 bytes.....".utf8), issuer: nil,
            audience: nil)
        logger = Logger(label: "simulated") { _ in SwiftLogNoOpLogHandler() }
        let issuer = TokenIssuer(settings: tokenSettings)
        func person(_ tenant: Tenant, _ name: String, _ role: Role) -> Person {
            Person(
                name: name, tenant: tenant.index,
                key: UserKey(tenant: tenant.index, userID: ByteBlock(name)),
                token: issuer.issue(
                    tenant: tenant.nameText, subject: name, roles: [role],
                    issuedAtSeconds: 1_700_000_000, expiresAtSeconds: 4_000_000_000),
                isAgent: role == .agent)
        }
        people = tenants.flatMap { tenant in
            ["ann", "bob", "cy"].map { person(tenant, $0, .endUser) }
        }
        agents = tenants.map { person($0, "agent", .agent) }
    }
}
