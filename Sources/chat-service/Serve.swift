// The command that runs the service, and what all commands share: settings, output, exit codes.

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
        let logger = makeLogger(settings.logLevel)
        let service: Service
        do throws(StartupFailure) {
            service = try Service(settings, logger: logger)
        } catch {
            throw fail(error)
        }
        say(service.readyLine())
        if service.isFirstStart, settings.environment == .development {
            sayHello(service, settings)
        }
        logger.info("serving", metadata: ["port": "\(service.port)"])
        while cl_wait_signal() == SIGHUP { service.reload() }
        logger.info("draining")
        let isClean = service.drain()
        if !isClean { logger.warning("the drain time was over before everything was finished") }
        logger.info("ended")
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

/// Standard output, at once: whoever started the service may be reading it through a pipe.
func say(_ text: String) {
    print(text)
    fflush(nil)
}

func makeLogger(_ level: Configuration.LogLevel) -> Logger {
    let threshold: Logger.Level =
        switch level {
        case .DEBUG: .debug
        case .INFO: .info
        case .WARNING: .warning
        case .ERROR: .error
        case .CRITICAL: .critical
        }
    return JSONLog.logger(label: "chat-service", threshold)
}

/// The configuration of this process's environment; exit 78 with a line for each fault.
func loadConfiguration() throws -> Configuration {
    do throws(Configuration.Faults) {
        return try Configuration(environment: environmentValues())
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

func sayError(_ text: String) {
    let line = Array("chat-service: \(text)\n".utf8)
    // Safety: the array has count bytes.
    _ = unsafe line.withUnsafeBytes { unsafe write(2, $0.baseAddress, $0.count) }
}

func fail(_ failure: StartupFailure) -> ExitCode {
    sayError(failure.message)
    return ExitCode(failure.exitCode)
}
