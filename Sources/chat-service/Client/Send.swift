// `chat-service send`: one message through the service's own interface. It is sent under an
// idempotency key, so that it can be sent again when nobody knows what became of it.

import ArgumentParser
import Bytes
import CLinux
import ChatModel
import Glibc
import Identity
import Wire

struct Send: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Sends a message to a running service and prints the reply.",
        discussion: """
            \(ServiceOptions.environmentNote)

            Without a credential it is sent as a guest. Ends with 0 when the message is stored, 64 \
            when it was refused, 69 when the service cannot be reached or stays busy.
            """)

    @OptionGroup var service: ServiceOptions
    @Option(
        help:
            "Who sends it: needed with an API key; otherwise the token's own user, or a new guest.")
    var user: String?
    @Option(help: "The conversation; without it the user's open one, or a new one.")
    var conversation: String?
    @Option(help: "The idempotency key; made up when it is not given.") var key: String?
    @Flag(help: "Print the service's answer as JSON.") var json = false
    @Argument(help: "The text. '-' alone reads standard input.") var text: [String]

    static let textBytesMax = 1 << 20

    func run() throws {
        let environment = environmentValues()
        let credential = try service.credential(environment)
        let body = try message()
        let client = try service.client(environment)
        let key = key ?? "send-" + Self.randomDigits()
        guard isPlain(key), 1...Limits.clientMessageIDBytesMax ~= key.utf8.count else {
            throw ValidationError(
                "--key must have 1 to \(Limits.clientMessageIDBytesMax) visible ASCII characters.")
        }
        do {
            let sender = try identify(credential, client)
            let request = ServiceRequest(
                path: "/api/v2/chat/message", fields: ["Idempotency-Key: \(key)"],
                body: bodyBytes(body, sender))
            do {
                try show(try client.exchange(request), client)
            } catch let failure as ClientFailure {
                var failure = failure
                if failure.exitCode == 69 {
                    failure.message +=
                        " It may be stored or not; to send it again safely, add --key \(key)."
                }
                throw failure
            }
        } catch let failure as ClientFailure {
            sayError(failure.message)
            throw ExitCode(failure.exitCode)
        } catch is ReaderGone {
            return
        }
    }

    // MARK: What is sent

    private func message() throws -> String {
        var message = text.joined(separator: " ")
        if text == ["-"] { message = try Self.standardInput() }
        guard !message.isEmpty else { throw ValidationError("There is no text to send.") }
        if let conversation { try checkConversation(conversation) }
        return message
    }

    private static func standardInput() throws -> String {
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 65_536)
        while true {
            // Safety: the array has count bytes.
            let count = unsafe piece.withUnsafeMutableBytes {
                unsafe read(0, $0.baseAddress, $0.count)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            bytes += piece[..<count]
            guard bytes.count <= textBytesMax else {
                throw ValidationError("Standard input has more than \(textBytesMax) bytes.")
            }
        }
        if bytes.last == 0x0A { bytes.removeLast() }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw ValidationError("Standard input is not UTF-8.")
        }
        return text
    }

    private static func randomDigits() -> String {
        let writer = ByteWriter(capacity: 40)
        writer.append(hex: Digests.randomSeed())
        writer.append(hex: Digests.randomSeed())
        return writer.string()
    }

    private func bodyBytes(_ text: String, _ sender: String) -> [UInt8] {
        let writer = ByteWriter(capacity: 1024)
        writer.append("{\"user_id\":")
        writer.append(json: sender)
        writer.append(",\"channel\":\"web\",\"content\":{\"type\":\"text\",\"text\":")
        writer.append(json: text)
        writer.append(0x7D)
        if let conversation {
            writer.append(",\"conversation_id\":")
            writer.append(json: conversation)
        }
        writer.append(0x7D)
        return writer.bytes.array()
    }

    // MARK: Who sends it

    /// Sets the client's credential; returns the user.
    private func identify(
        _ credential: ServiceOptions.Credential, _ client: ServiceClient
    ) throws -> String {
        switch credential {
        case .token(let token):
            client.credentialField = "Authorization: Bearer \(token)"
            guard let sender = user ?? subject(of: token, client.parser) else {
                throw ValidationError("The token does not say whose it is; --user does.")
            }
            return sender
        case .apiKey(let key):
            client.credentialField = "X-API-Key: \(key)"
            guard let user else {
                throw ValidationError("An API key speaks for any user; --user says for whom.")
            }
            return user
        case .guest(let tenant): return try becomeGuest(of: tenant, client)
        }
    }

    private func becomeGuest(of tenant: String, _ client: ServiceClient) throws -> String {
        let writer = ByteWriter(capacity: 256)
        writer.append("{\"tenant_id\":")
        writer.append(json: tenant)
        if let user {
            writer.append(",\"user_id\":")
            writer.append(json: user)
        }
        writer.append(0x7D)
        let request = ServiceRequest(path: "/api/v2/auth/guest", body: writer.bytes.array())
        let answer: ServiceResponse
        do {
            answer = try client.exchange(request)
        } catch {
            var failure = error
            if failure.exitCode == 64 {
                failure.message += " Give a credential: --token, --api-key, or the environment."
            }
            throw failure
        }
        let parser = client.parser
        guard parser.parse(answer.body.bytes), let token = parser.text(JSONParser.root, "token"),
            let user = parser.text(JSONParser.root, "user_id"), isPlain(token)
        else {
            throw ClientFailure(exitCode: 70, message: "The guest token that came is none.")
        }
        client.credentialField = "Authorization: Bearer \(token)"
        return user
    }

    /// `sub` of the token's claims; whether the token is any good is the service's to say.
    private func subject(of token: String, _ parser: JSONParser) -> String? {
        let parts = token.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3 else { return nil }
        let (text, claims) = (ByteBlock(String(parts[1])), ByteWriter(capacity: 1024))
        guard Base64URL.decode(text.bytes, into: claims) else { return nil }
        let document = claims.block()
        guard parser.parse(document.bytes) else { return nil }
        return parser.text(JSONParser.root, "sub")
    }

    // MARK: What came back

    private func show(_ response: ServiceResponse, _ client: ServiceClient) throws {
        let (parser, root) = (client.parser, JSONParser.root)
        guard parser.parse(response.body.bytes), let message = parser.object(root, "message") else {
            throw ClientFailure(exitCode: 70, message: "The answer is not what it should be.")
        }
        if json {
            let writer = ByteWriter(capacity: 4096)
            parser.write(root, into: writer)
            return try writeLine(writer.string())
        }
        let seq = parser.field(message, "seq").flatMap(parser.unsigned) ?? 0
        var note = "conversation \(parser.text(root, "conversation_id") ?? "?"), message \(seq)"
        if response.isReplay { note += ", sent before under this key" }
        if let reply = parser.object(root, "reply") {
            sayError(note)
            let text = EntryText(json: false).content(parser, reply)
            let lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
            try writeLine(lines.map { shown(String($0)) }.joined(separator: "\n"))
        } else {
            sayError(
                "\(note), \(parser.text(root, "status") ?? "accepted"): a reply may come later")
        }
    }
}

/// Throws ValidationError for what cannot be the id of a conversation.
func checkConversation(_ text: String) throws {
    let block = ByteBlock(text)
    guard Identifier(block.bytes, kind: .conversation) != nil else {
        throw ValidationError("'\(shown(text))' is no conversation: their ids begin with conv_.")
    }
}
