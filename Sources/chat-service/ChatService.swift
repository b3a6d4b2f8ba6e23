import ArgumentParser
import ShardRuntime

/// The executable. Commands and exit codes: 0 fine, 64 usage, 69 a needed service is unavailable,
/// 70 internal, 78 configuration.
@main
struct ChatService: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "chat-service",
        abstract: "A multi-tenant, multi-channel chat service.",
        discussion: "Configured by environment variables; .env.example lists them.",
        version: "\(ServiceState.version)",
        subcommands: [
            Serve.self, CheckConfig.self, TokenCommand.self, APIKeyCommand.self, TenantCommand.self,
            Send.self, Tail.self,
        ],
        defaultSubcommand: Serve.self)
}
