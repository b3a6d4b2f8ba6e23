// Where a running service is and who talks to it: options that `send` and `tail` share.

import ArgumentParser
import CLinux
import ChatModel
import ShardRuntime

struct ServiceOptions: ParsableArguments {
    static let environmentNote = """
        CHAT_URL, CHAT_TENANT, CHAT_TOKEN and CHAT_API_KEY in the environment stand for --url, \
        --tenant, --token and --api-key. Prefer them for credentials: others on this machine can \
        see the arguments of a process.
        """

    @Option(help: "Where the service is. (default: http://127.0.0.1:8001)") var url: String?
    @Option(help: "The tenant whose guest to be, without a credential. (default: demo)")
    var tenant: String?
    @Option(help: "An access token.") var token: String?
    @Option(help: "An API key.") var apiKey: String?
    @Option(help: "A PEM file: only certificates of its authorities are believed.")
    var cacert: String?
    @Option(help: "Seconds to keep trying while the service cannot be reached or is busy.")
    var wait: UInt64 = 10

    enum Credential {
        case token(String)
        case apiKey(String)
        case guest(tenant: String)
    }

    /// Throws ValidationError for options that cannot be.
    func credential(_ environment: [String: String]) throws -> Credential {
        let given = [token, apiKey].contains { $0 != nil }
        let token = given ? self.token : set(environment["CHAT_TOKEN"])
        let apiKey = given ? self.apiKey : set(environment["CHAT_API_KEY"])
        switch (token, apiKey) {
        case (.some, .some):
            throw ValidationError(
                given
                    ? "--token and --api-key exclude each other."
                    : "CHAT_TOKEN and CHAT_API_KEY are both set; unset one.")
        case (let token?, nil):
            try check(token, "The token", bytesMax: Limits.tokenBytesMax)
            return .token(token)
        case (nil, let apiKey?):
            try check(apiKey, "The API key", bytesMax: 256)
            return .apiKey(apiKey)
        case (nil, nil):
            return .guest(tenant: tenant ?? set(environment["CHAT_TENANT"]) ?? "demo")
        }
    }

    func client(_ environment: [String: String]) throws -> ServiceClient {
        var url = url ?? set(environment["CHAT_URL"]) ?? "http://127.0.0.1:8001"
        while url.hasSuffix("/") { url.removeLast() }
        let scheme = ["http://", "https://"].first { url.lowercased().hasPrefix($0) }
        guard let scheme, isPlain(url), url.utf8.count > scheme.utf8.count,
            !url.contains("?"), !url.contains("#"), !url.contains("@")
        else {
            // It may hold a password: it is not repeated.
            throw ValidationError(
                "--url must be http://host:port or https://host:port, without user, query and fragment."
            )
        }
        guard wait <= 86_400 else { throw ValidationError("--wait must be 0 to 86400 seconds.") }
        guard let client = ServiceClient(url: url, authorities: cacert, waitSeconds: wait) else {
            throw fail(
                StartupFailure(StartupFailure.internalError, "There is no memory for a request."))
        }
        return client
    }

    private func set(_ value: String?) -> String? { value.flatMap { $0.isEmpty ? nil : $0 } }

    /// What goes into a header field is a line's part and no more.
    private func check(_ secret: String, _ name: String, bytesMax: Int) throws {
        guard isPlain(secret), 1...bytesMax ~= secret.utf8.count else {
            throw ValidationError("\(name) must have 1 to \(bytesMax) visible ASCII characters.")
        }
    }
}

/// Visible ASCII, and no space.
func isPlain(_ text: String) -> Bool { text.utf8.allSatisfy { 0x21...0x7E ~= $0 } }
