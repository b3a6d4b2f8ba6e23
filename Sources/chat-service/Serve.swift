// The command that runs the service, and the settings that all commands read.

import ArgumentParser
import CLinux
import Glibc
import Logging
import Observability
import ShardRuntime

struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Runs the service.")

    func run() throws {
        // Before any thread starts, so that all of them leave the signals to this one.
        cl_block_signals()
        let settings = try loadConfiguration()
        let threshold = LogThreshold(settings.logLevel.threshold)
        let logger = JSONLog.logger(label: "chat-service", threshold)
        let service: Service
        do throws(StartupFailure) {
            service = try Service(settings, logger: logger, threshold: threshold)
        } catch {
            throw fail(error)
        }
        say(service.readyLine())
        if service.isFirstStart, settings.environment == .development {
            sayHello(service, settings)
        }
        logger.info("serving", metadata: ["port": "\(service.port)"])
        waitForTheEnd(service)
        logger.info("draining")
        let isClean = service.drain()
        if !isClean { logger.warning("the drain time was over before everything was finished") }
        logger.info("ended")
    }

    /// Until SIGTERM or SIGINT.
    private func waitForTheEnd(_ service: Service) {
        while true {
            switch cl_wait_signal(service.lookMilliseconds) {
            case 0: service.lookAtDirectory()
            case SIGHUP: service.reloadAll()
            default: return
            }
        }
    }

    /// The first start ends with something to paste.
    private func sayHello(_ service: Service, _ settings: Configuration) {
        let token = service.issueToken(
            tenant: "demo", subject: "alice", roles: [.endUser], seconds: 86_400)
        let url = "\(service.scheme)://127.0.0.1:\(service.port)"
        say(
            """

            Open the web chat:  \(url)/
            Or send a message:

            curl -X POST \(url)/api/v2/chat/message \\
              -H 'Content-Type: application/json' \\
              -H 'Authorization: Bearer \(token)' \\
              -d '{"user_id":"alice","channel":"web","content":{"type":"text","text":"Hello"}}'

            """)
    }
}

/// The configuration of this process's environment; exit 78 with a line for each fault.
func loadConfiguration() throws -> Configuration {
    var values = environmentValues()
    if let path = values["ENV_FILE"], !path.isEmpty {
        guard let file = EnvironmentFile(path: path) else {
            throw fail(
                StartupFailure(
                    StartupFailure.configuration,
                    "ENV_FILE: \"\(path)\" cannot be read; name a file of KEY=VALUE lines, or unset it"
                ))
        }
        // The environment goes first, as everywhere.
        if values["LOG_LEVEL", default: ""].isEmpty {
            values["LOG_LEVEL"] = file.values["LOG_LEVEL"]
        }
    }
    do throws(Configuration.Faults) {
        return try Configuration(environment: values)
    } catch {
        for line in error.lines { sayError(line) }
        throw ExitCode(StartupFailure.configuration)
    }
}

func environmentValues() -> [String: String] {
    var values: [String: String] = [:]
    var next = unsafe environ
    // Safety: environ is a NULL-terminated array of C strings; this runs before any thread is
    // started.
    while let entry = unsafe next.pointee {
        let text = unsafe String(cString: entry)
        if let split = text.firstIndex(of: "=") {
            values[String(text[..<split])] = String(text[text.index(after: split)...])
        }
        unsafe next += 1
    }
    return values
}
