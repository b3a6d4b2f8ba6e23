// `chat-service check-config`: what the environment means, or what is wrong with it.

import ArgumentParser
import ShardRuntime

struct CheckConfig: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check-config",
        abstract:
            "Validates the environment and prints the effective configuration, secrets redacted.")

    @Flag(help: "Print JSON.") var json = false

    func run() throws {
        let settings = try loadConfiguration()
        do throws(StartupFailure) {
            _ = try settings.loadCredentials()
            _ = try settings.loadPublicKeys()
        } catch {
            throw fail(error)
        }
        guard json else {
            for (name, value) in settings.effective { say("\(name)=\(value)") }
            return
        }
        say(JSONLine(settings.effective.map { ($0.0, .text($0.1)) }).text)
    }
}
